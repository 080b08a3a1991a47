"""What an attack may rely on, whichever oracle it holds: same answers, refusals, words, charges and digests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import torch

from arena.contracts import (
    Answer,
    BudgetExhausted,
    DeadlinePassed,
    DefenseFault,
    InvalidQuery,
    MatchClosed,
    Oracle,
    QueryBatch,
    Responder,
)
from arena.oracle.ledger import MemoryLedger
from arena.oracle.local import LocalOracle
from arena.oracle.session import Session
from arena.oracle.terms import OracleTerms
from arena.rpc.client import Connection, RemoteOracle
from arena.rpc.server import OracleServer, serving
from tests.oracle.responders import TASK, CountingResponder, inputs
from tests.oracle.test_session import MirroringScript


class Match(NamedTuple):
    oracle: Oracle
    session: Session


Opener = Callable[..., Match]


def session(*, responder: Responder | None = None, budget: int = 20, max_rows: int = 4) -> Session:
    return Session(
        OracleTerms(task=TASK, budget=budget, accounts=2, explanation="gradient-input", max_rows=max_rows),
        responder=responder or CountingResponder(),
        ledger=MemoryLedger(budget=budget),
        account_numbers=[41, 17],
        explainer=lambda asked, classes: asked * classes[:, None],
        honest=MirroringScript(),
    )


@pytest.fixture(scope="module")
def server() -> Iterator[OracleServer]:
    with serving() as running:
        yield running


@pytest.fixture(params=["local", "remote"])
def opened(request: pytest.FixtureRequest, server: OracleServer) -> Iterator[Opener]:
    connections = []

    def local(*, time_left: Callable[[], float] | None = None, **options) -> Match:
        played = session(**options)
        return Match(LocalOracle(played, time_left=time_left), played)

    def remote(*, time_left: Callable[[], float] | None = None, **options) -> Match:
        played = session(**options)
        connections.append(Connection(server.address, server.open(played), time_left=time_left))
        return Match(RemoteOracle(connections[-1]), played)

    yield local if request.param == "local" else remote
    for connection in connections:
        connection.close()


def test_tells_its_terms(opened: Opener):
    oracle = opened().oracle
    assert oracle.task == TASK
    assert (oracle.accounts, oracle.explanation, oracle.explanation_price, oracle.remaining) == (
        2,
        "gradient-input",
        1,
        20,
    )


def test_answers_as_the_defense_does_call_by_call(opened: Opener):
    match = opened()
    answer = match.oracle.query(inputs(6), account=1)
    expected = CountingResponder()
    first = expected(QueryBatch(inputs=inputs(6)[:4])).posteriors
    expected(QueryBatch(inputs=inputs(4, seed=50)))
    second = expected(QueryBatch(inputs=inputs(6)[4:])).posteriors
    assert torch.equal(answer.posteriors, torch.cat([first, second]))
    assert answer.refused.tolist() == [False] * 6
    assert answer.explanations is None
    assert match.oracle.remaining == match.session.remaining == 14


def test_explains_at_its_price(opened: Opener):
    oracle = opened().oracle
    answer = oracle.query(inputs(6), explain=True)
    assert answer.explanations is not None
    assert answer.explanations.shape == (6, 2)
    assert oracle.remaining == 8


def test_refuses_whole_before_anything_is_sent(opened: Opener):
    match = opened(budget=5)
    with pytest.raises(
        BudgetExhausted, match="the call costs 6, but only 5 of the query budget of 5 are left"
    ) as refusal:
        match.oracle.query(inputs(6))
    assert refusal.value.remaining == match.session.remaining == 5
    assert not list(match.session.close().attack_calls)


def test_refuses_a_bad_row_behind_good_calls_before_anything_is_sent(opened: Opener):
    match = opened()
    asked = inputs(6)
    asked[5, 0] = 2.0
    with pytest.raises(InvalidQuery, match="range from"):
        match.oracle.query(asked)
    assert match.session.remaining == 20


@pytest.mark.parametrize("asked", [torch.rand(0, 2), torch.rand(2, 3), torch.rand(2), torch.rand(2, 2).double()])
def test_refuses_inputs_of_another_shape_or_type(opened: Opener, asked: torch.Tensor):
    with pytest.raises(InvalidQuery):
        opened().oracle.query(asked)


def test_refuses_an_account_that_is_not_there(opened: Opener):
    with pytest.raises(InvalidQuery, match="there is no account 2; accounts are 0 to 1"):
        opened().oracle.query(inputs(1), account=2)


def test_ends_with_the_match(opened: Opener):
    match = opened()
    match.oracle.query(inputs(2))
    match.session.close()
    with pytest.raises(MatchClosed, match="the match is over"):
        match.oracle.query(inputs(2))


def test_tells_of_a_fault_of_the_defense(opened: Opener):
    def broken(queries: QueryBatch) -> Answer:
        raise ZeroDivisionError("not for the attack")

    match = opened(responder=broken)
    for _ in range(2):
        with pytest.raises(DefenseFault, match=r"^the defense raised ZeroDivisionError; the call was not charged$"):
            match.oracle.query(inputs(2))
    assert match.oracle.remaining == 20


def test_asks_nothing_when_time_is_over(opened: Opener):
    left = [1.0]
    match = opened(time_left=lambda: left[0])
    match.oracle.query(inputs(1))
    left[0] = 0.0
    with pytest.raises(DeadlinePassed):
        match.oracle.query(inputs(1))
    assert match.session.remaining == 19


def test_leaves_one_transcript(server: OracleServer):
    digests = set()
    for exact in (True, False):
        asked = inputs(9) if not exact else (inputs(9) * 255).round() / 255
        local = session()
        LocalOracle(local).query(asked, account=1)
        remote = session()
        token = server.open(remote)
        with Connection(server.address, token) as connection:
            RemoteOracle(connection).query(asked, account=1)
        assert server.close(token).digest == local.close().digest
        digests.add(local.close().digest)
    assert len(digests) == 2
