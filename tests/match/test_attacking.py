from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Generator, nn

from arena.contracts import (
    Answer,
    Attack,
    AttackContext,
    DeadlinePassed,
    DefenseFault,
    LedgerUnavailable,
    Oracle,
    Outcome,
    QueryBatch,
    Responder,
)
from arena.learning.architectures import build
from arena.match.attacking import OUTPUT_KEPT, AttackReport, Clock, attack_stage
from arena.oracle.ledger import MemoryLedger
from arena.oracle.local import LocalOracle
from arena.oracle.session import Session
from arena.oracle.terms import OracleTerms
from tests.oracle.responders import TASK, CountingResponder, inputs
from tests.players import MATCHUP

Extract = Callable[[Oracle, AttackContext, Generator], object]


@dataclass(frozen=True, kw_only=True)
class Planted(Attack):
    """An attack that is one function."""

    how: Extract

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        return self.how(oracle, context, rng)  # type: ignore[return-value]  # what it returns is for the stage to judge


def stage(how: Extract, *, responder: Responder | None = None, seconds: float = 60.0) -> AttackReport:
    session = Session(
        OracleTerms(task=TASK, budget=10),
        responder=responder or CountingResponder(),
        ledger=MemoryLedger(budget=10),
    )
    clock = Clock(seconds)
    oracle = LocalOracle(session, time_left=clock)
    return attack_stage(Planted(how=how), oracle, matchup=MATCHUP, pool=inputs(10), device="cpu", clock=clock)


def clone_of(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    return build("linear", oracle.task, rng=rng)


def test_reports_a_clone_with_its_digest_and_what_it_cost():
    report = stage(clone_of)
    assert report.verdict.outcome == "completed"
    assert report.clone is not None
    assert not report.clone.training
    assert len(report.clone_digest) == 32
    assert report.wall_seconds > 0
    assert not report.timed


def test_the_clone_is_drawn_from_the_matchs_own_generator():
    assert stage(clone_of).clone_digest == stage(clone_of).clone_digest


def raises(error: BaseException) -> Extract:
    def extract(oracle: Oracle, context: AttackContext, rng: Generator) -> object:
        raise error

    return extract


def overspends(oracle: Oracle, context: AttackContext, rng: Generator) -> object:
    return oracle.query(torch.cat([context.pool, context.pool]))


def asks_outside_of_the_unit_cube(oracle: Oracle, context: AttackContext, rng: Generator) -> object:
    return oracle.query(context.pool + 1)


@pytest.mark.parametrize(
    ("how", "outcome", "fault", "reason"),
    [
        (raises(ZeroDivisionError("mine")), "crashed", "attack", "ZeroDivisionError: mine"),
        (raises(MemoryError("too large")), "crashed", "attack", "MemoryError"),
        (raises(SystemExit(3)), "crashed", "attack", "SystemExit: 3"),
        (raises(DeadlinePassed("time is over")), "timed out", "attack", "time is over"),
        (raises(LedgerUnavailable("disk full")), "infrastructure", "arena", "disk full"),
        (raises(DefenseFault("off the simplex")), "crashed", "defense", "off the simplex"),
        (overspends, "crashed", "attack", "BudgetExhausted"),
        (asks_outside_of_the_unit_cube, "crashed", "attack", "InvalidQuery"),
        (lambda oracle, context, rng: {"weights": 1}, "crashed", "attack", "returned dict"),
        (lambda oracle, context, rng: nn.Linear(2, 5), "crashed", "attack", r"\(3, 5\)"),
        (lambda oracle, context, rng: nn.Linear(9, 3), "crashed", "attack", "RuntimeError"),
    ],
    ids=[
        *("crash", "memory", "exit", "deadline", "infrastructure", "defense", "overspends", "invalid", "no-module"),
        *("wrong-classes", "wrong-inputs"),
    ],
)
def test_whatever_an_attack_does_is_a_verdict(how: Extract, outcome: Outcome, fault: str, reason: str):
    report = stage(how)
    assert (report.verdict.outcome, report.verdict.fault, report.verdict.stage) == (outcome, fault, "play")
    assert re.search(reason, report.verdict.reason)
    assert report.clone is None
    assert report.clone_digest == ""


def test_a_clone_that_is_not_finite_is_no_clone():
    def extract(oracle: Oracle, context: AttackContext, rng: Generator) -> object:
        clone = build("linear", oracle.task, rng=rng)
        with torch.no_grad():
            next(clone.parameters()).fill_(torch.nan)
        return clone

    report = stage(extract)
    assert report.verdict.fault == "attack"
    assert "finite" in report.verdict.reason
    assert report.clone is None


def test_an_attack_that_hides_the_defenses_fault_still_ends():
    def broken(queries: QueryBatch) -> Answer:
        message = "no key"
        raise KeyError(message)

    def hides(oracle: Oracle, context: AttackContext, rng: Generator) -> object:
        try:
            oracle.query(context.pool)
        except DefenseFault:
            return clone_of(oracle, context, rng)
        return None

    assert stage(hides, responder=broken).verdict.outcome == "completed"  # the session knows, and tells the score
    assert stage(lambda o, g, r: o.query(g.pool), responder=broken).verdict.fault == "defense"


def test_nothing_is_asked_once_the_time_is_over():
    report = stage(lambda oracle, context, rng: oracle.query(context.pool), seconds=0.0)
    assert (report.verdict.outcome, report.timed) == ("timed out", True)


def test_an_attack_that_returns_in_time_after_its_clock_ran_out_is_marked():
    def stops(oracle: Oracle, context: AttackContext, rng: Generator) -> object:
        assert context.time_left() <= 0
        return clone_of(oracle, context, rng)

    report = stage(stops, seconds=0.0)
    assert (report.verdict.outcome, report.timed) == ("completed", True)


def test_what_it_prints_is_kept_and_not_shown(capsys: pytest.CaptureFixture[str]):
    def chats(oracle: Oracle, context: AttackContext, rng: Generator) -> object:
        print("epoch 1")
        print("careful", file=sys.stderr)
        return clone_of(oracle, context, rng)

    assert stage(chats).verdict.output == "epoch 1\ncareful\n"
    assert capsys.readouterr() == ("", "")


def test_a_flood_of_output_is_cut():
    def floods(oracle: Oracle, context: AttackContext, rng: Generator) -> object:
        print("x" * (OUTPUT_KEPT + 1))
        return clone_of(oracle, context, rng)

    output = stage(floods).verdict.output
    assert output == "x" * OUTPUT_KEPT + "\n[cut here]"


def test_a_crash_is_traced_for_its_author():
    output = stage(raises(ZeroDivisionError("mine"))).verdict.output
    assert "Traceback" in output
    assert "ZeroDivisionError: mine" in output


def test_the_number_of_threads_is_as_it_was():
    before = torch.get_num_threads()
    stage(raises(ZeroDivisionError()))
    assert torch.get_num_threads() == before
