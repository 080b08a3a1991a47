"""Every ledger against a model in a few lines, under arbitrary orders of calls; and proof that this finds bugs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from arena.contracts import Answer, BudgetExhausted, MatchClosed, QueryBatch, RequestConflict, Responder
from arena.oracle.ledger import MatchLedger, MemoryLedger
from arena.oracle.sqlite_ledger import SqliteLedger
from tests.oracle.responders import CountingResponder, batch, key

BUDGET = 12
REQUESTS = st.integers(0, 5)
ROWS = st.integers(1, 5)
FOUND = settings(
    max_examples=200,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


class LedgerMachine(RuleBasedStateMachine):
    """The model: the answers by request, what was asked, what is spent."""

    opened: Callable[[], MatchLedger]
    reopened: Callable[[MatchLedger], MatchLedger] | None = None

    @initialize()
    def start(self) -> None:
        self.ledger = type(self).opened()
        self.responder = CountingResponder()
        self.known: dict[int, tuple[int, int, torch.Tensor]] = {}
        self.spent = 0
        self.closed = False

    @rule(request=REQUESTS, rows=ROWS, seed=st.integers(0, 1))
    def charge(self, request: int, rows: int, seed: int) -> None:
        answered = self.responder.rows
        try:
            answer = self.ledger.charge(key(request), batch(rows, seed=seed), self.responder, price=rows)
        except MatchClosed:
            assert self.closed
        except RequestConflict:
            assert self.known[request][:2] != (rows, seed)
        except BudgetExhausted as refusal:
            assert request not in self.known
            left = refusal.remaining
            assert rows > left == BUDGET - self.spent
        else:
            assert not self.closed
            if request in self.known:
                assert self.known[request][:2] == (rows, seed)
                assert torch.equal(self.known[request][2], answer.posteriors)
                assert self.responder.rows == answered
            else:
                self.known[request] = (rows, seed, answer.posteriors)
                self.spent += rows
                assert self.spent <= BUDGET

    @rule(request=st.integers(10, 12), rows=ROWS)
    def fault(self, request: int, rows: int) -> None:
        def broken(queries: QueryBatch) -> Answer:
            raise ZeroDivisionError

        with pytest.raises((ZeroDivisionError, BudgetExhausted, MatchClosed)):
            self.ledger.charge(key(request), batch(rows), broken, price=rows)

    @rule(request=REQUESTS, rows=ROWS)
    def answer_honest_traffic(self, request: int, rows: int) -> None:
        with suppress(MatchClosed, RequestConflict):
            self.ledger.charge(key(request), batch(rows), self.responder, price=rows, honest=True)

    @precondition(lambda self: self.reopened is not None)
    @rule()
    def restart(self) -> None:
        self.ledger = type(self).reopened(self.ledger)

    @precondition(lambda self: self.spent > BUDGET // 2)
    @rule()
    def close(self) -> None:
        assert self.ledger.close() == self.ledger.transcript().digest
        self.closed = True

    @invariant()
    def sums_close(self) -> None:
        if hasattr(self, "ledger"):
            assert self.ledger.remaining == BUDGET - self.spent
            attack = [len(call.queries.inputs) for call in self.ledger.calls() if not call.honest]
            assert sum(attack) == self.spent


def machine_over(opened: Callable[[], MatchLedger]) -> type[LedgerMachine]:
    return type("Machine", (LedgerMachine,), {"opened": staticmethod(opened)})


def test_memory_ledger_follows_the_model():
    run_state_machine_as_test(machine_over(lambda: MemoryLedger(budget=BUDGET)), settings=FOUND)


def test_sqlite_ledger_follows_the_model_through_restarts(tmp_path: Path):
    paths: dict[int, Path] = {}

    def opened() -> SqliteLedger:
        path = Path(tempfile.mkdtemp(dir=tmp_path)) / "match.ledger"
        ledger = SqliteLedger.open(path, budget=BUDGET)
        paths[id(ledger)] = path
        return ledger

    def reopened(ledger: SqliteLedger) -> SqliteLedger:
        path = paths.pop(id(ledger))
        ledger.release()
        again = SqliteLedger.open(path, budget=BUDGET)
        paths[id(again)] = path
        return again

    machine = machine_over(opened)
    machine.reopened = staticmethod(reopened)
    run_state_machine_as_test(machine, settings=settings(FOUND, max_examples=60))


class WithoutKeys(MemoryLedger):
    """Planted bug: every call is a new one."""

    fresh = 0

    def charge(self, request_id: bytes, queries: QueryBatch, respond: Responder, *, price: int, honest: bool = False):
        self.fresh += 1
        return super().charge(key(1000 + self.fresh), queries, respond, price=price, honest=honest)


class OffByOne(MemoryLedger):
    """Planted bug: the last unit is given twice."""

    def charge(self, request_id: bytes, queries: QueryBatch, respond: Responder, *, price: int, honest: bool = False):
        self._budget += 1
        try:
            return super().charge(request_id, queries, respond, price=price, honest=honest)
        finally:
            self._budget -= 1


class WithoutChecks(MemoryLedger):
    """Planted bug: neither the budget nor the end of the match is looked at."""

    def charge(self, request_id: bytes, queries: QueryBatch, respond: Responder, *, price: int, honest: bool = False):
        self._budget += 1_000_000
        closed, self._digest = self._digest, None
        try:
            return super().charge(request_id, queries, respond, price=price, honest=honest)
        finally:
            self._budget -= 1_000_000
            self._digest = closed


class WithoutConflicts(MemoryLedger):
    """Planted bug: a known request id is answered from the record whatever is asked."""

    def charge(self, request_id: bytes, queries: QueryBatch, respond: Responder, *, price: int, honest: bool = False):
        known = self._calls.get((honest, request_id))
        if known is not None and self._digest is None:
            return known.answer
        return super().charge(request_id, queries, respond, price=price, honest=honest)


@pytest.mark.parametrize("ledger", [WithoutKeys, OffByOne, WithoutChecks, WithoutConflicts])
def test_finds_a_planted_bug(ledger: type[MemoryLedger]):
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(machine_over(lambda: ledger(budget=BUDGET)), settings=FOUND)
