from __future__ import annotations

import pytest
import torch

from arena.contracts import BudgetExhausted, InvalidQuery, QueryBatch, RequestConflict, Task
from arena.learning.tensors import digest_of
from arena.oracle.ledger import MemoryLedger
from arena.oracle.local import LocalOracle
from arena.oracle.relayed import RelayedSession
from arena.oracle.session import Session
from arena.oracle.terms import OracleTerms
from tests.oracle.responders import CountingResponder

FIRST, SECOND = b"1" * 16, b"2" * 16


def relayed(budget: int = 10) -> RelayedSession:
    terms = OracleTerms(task=Task(shape=(2,), classes=3), budget=budget)
    return RelayedSession(
        LocalOracle(Session(terms, responder=CountingResponder(), ledger=MemoryLedger(budget=budget)))
    )


def rows(count: int, value: float = 0.5) -> QueryBatch:
    return QueryBatch(inputs=torch.full((count, 2), value))


def test_a_repeated_request_gets_the_same_answer_and_is_charged_once():
    session = relayed()
    first, again = session.query(FIRST, rows(3)), session.query(FIRST, rows(3))
    assert digest_of([first.posteriors]) == digest_of([again.posteriors])
    assert session.remaining == 7


def test_the_same_request_with_other_rows_is_a_conflict():
    session = relayed()
    session.query(FIRST, rows(3))
    with pytest.raises(RequestConflict):
        session.query(FIRST, rows(3, value=0.25))
    assert session.remaining == 7


def test_what_the_oracle_refuses_is_refused_and_may_be_asked_again():
    session = relayed(budget=4)
    with pytest.raises(BudgetExhausted):
        session.query(FIRST, rows(5))
    session.query(FIRST, rows(4))
    assert session.remaining == 0


@pytest.mark.parametrize("request_id", [b"", b"short", b"x" * 17])
def test_a_request_id_has_16_bytes(request_id: bytes):
    with pytest.raises(InvalidQuery, match="16 bytes"):
        relayed().query(request_id, rows(1))
