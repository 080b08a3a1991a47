"""Matches by token, looked up by many threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from arena.oracle.ledger import MemoryLedger
from arena.oracle.session import Session
from arena.oracle.terms import OracleTerms
from arena.rpc.hosting import HostedMatch, HostedMatches
from tests.oracle.responders import TASK, CountingResponder


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_a_token_is_found_while_other_matches_come_and_go():
    session = Session(OracleTerms(task=TASK, budget=1), responder=CountingResponder(), ledger=MemoryLedger(budget=1))
    match = HostedMatch(session=session)
    matches = HostedMatches()
    tokens = [matches.add(match) for _ in range(50)]
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            for token in [matches.add(match) for _ in range(20)]:
                matches.remove(token)

    others = threading.Thread(target=come_and_go)
    others.start()
    try:
        for _ in range(200):
            assert all(matches.find(token) is match for token in tokens)
    finally:
        over.set()
        others.join()
