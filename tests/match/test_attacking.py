from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

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
    Spec,
)
from arena.defenses.label_only import LabelOnly
from arena.defenses.none import NoDefense
from arena.learning.architectures import build
from arena.match.attacking import OUTPUT_KEPT, AttackReport, Clock, attack_stage
from arena.match.play import play
from arena.match.site import Site
from arena.oracle.interrupts import SIGNALS, OperatorInterrupt, raise_on_signals
from arena.oracle.ledger import MemoryLedger
from arena.oracle.local import LocalOracle
from arena.oracle.session import Session
from arena.oracle.terms import OracleTerms
from arena.referee.settlement import is_lost, needs_stand_in
from tests.oracle.responders import TASK, CountingResponder, inputs
from tests.players import MATCHUP

Extract = Callable[[Oracle, AttackContext, Generator], object]


@pytest.fixture(autouse=True)
def operators_signals() -> Iterator[None]:
    """With our handlers in place a KeyboardInterrupt can only be a player's."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    raise_on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@dataclass(frozen=True, kw_only=True)
class Planted(Attack):
    """An attack that is one function."""

    how: Extract

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        return self.how(oracle, context, rng)  # type: ignore[return-value]  # what it returns is for the stage to judge


class FailingLedger(MemoryLedger):
    """Cannot be written while ``full``."""

    full = True

    def charge(self, *arguments: object, **named: object) -> Answer:
        if self.full:
            message = "disk full"
            raise LedgerUnavailable(message)
        return super().charge(*arguments, **named)  # type: ignore[arg-type]  # passed on as they are


def stage(
    how: Extract, *, responder: Responder | None = None, seconds: float = 60.0, ledger: MemoryLedger | None = None
) -> AttackReport:
    session = Session(
        OracleTerms(task=TASK, budget=10),
        responder=responder or CountingResponder(),
        ledger=ledger or MemoryLedger(budget=10),
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
        (raises(KeyboardInterrupt()), "crashed", "attack", "KeyboardInterrupt"),
        (raises(DeadlinePassed("time is over")), "crashed", "attack", "time is over"),
        (raises(LedgerUnavailable("disk full")), "crashed", "attack", "disk full"),
        (raises(DefenseFault("off the simplex")), "crashed", "attack", "off the simplex"),
        (overspends, "crashed", "attack", "BudgetExhausted"),
        (asks_outside_of_the_unit_cube, "crashed", "attack", "InvalidQuery"),
        (
            lambda oracle, context, rng: {"weights": 1},
            "crashed",
            "attack",
            "must return a torch module that returns logits, not dict",
        ),
        (lambda oracle, context, rng: nn.Linear(2, 5), "crashed", "attack", r"\(3, 5\)"),
        (lambda oracle, context, rng: nn.Linear(9, 3), "crashed", "attack", "RuntimeError"),
    ],
    ids=[
        *("crash", "memory", "exit", "interrupt", "feigned-deadline", "feigned-infrastructure", "framed-defense"),
        *("overspends", "invalid", "no-module"),
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


def test_the_operators_interrupt_ends_the_run_and_blames_nobody():
    with pytest.raises(OperatorInterrupt):
        stage(lambda oracle, context, rng: signal.raise_signal(signal.SIGINT))


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

    assert stage(hides, responder=broken).verdict.outcome == "completed"  # the session knows, and tells when it closes


class TestAFaultOfTheInfrastructure:
    """Only the oracle's own record makes a fault one of the infrastructure: such a match is played again."""

    def test_is_one_whatever_the_attack_makes_of_it(self):
        def rewords(oracle: Oracle, context: AttackContext, rng: Generator) -> object:
            try:
                return oracle.query(context.pool)
            except LedgerUnavailable as fault:
                message = "my own words"
                raise ValueError(message) from fault

        for how in (rewords, lambda oracle, context, rng: oracle.query(context.pool)):
            verdict = stage(how, ledger=FailingLedger(budget=10)).verdict
            assert (verdict.outcome, verdict.fault) == ("infrastructure", "arena")
            assert verdict.reason == "LedgerUnavailable: disk full"

    def test_that_was_overcome_excuses_no_crash(self):
        ledger = FailingLedger(budget=10)

        def tries_again(oracle: Oracle, context: AttackContext, rng: Generator) -> object:
            with pytest.raises(LedgerUnavailable):
                oracle.query(context.pool[:1])
            ledger.full = False
            oracle.query(context.pool[:1])
            raise LedgerUnavailable(str(oracle.remaining))

        assert stage(tries_again, ledger=ledger).verdict.fault == "attack"

    def test_cannot_be_raised_by_an_attack_that_wants_another_try(self, site: Site):
        attack = Planted(how=raises(LedgerUnavailable("a bad seed")))
        result = play(MATCHUP, attack=attack, defense=NoDefense(), site=site)
        assert (result.verdict.outcome, result.verdict.fault) == ("crashed", "attack")
        assert not is_lost(result)


def test_an_attack_cannot_frame_a_sound_defense(site: Site):
    matchup = replace(MATCHUP, defense=Spec(name="label-only", version=1))

    def frames(oracle: Oracle, context: AttackContext, rng: Generator) -> object:
        oracle.query(context.pool[: oracle.remaining])
        message = "the defense answered a row off the simplex or not finite; the call was not charged"
        raise DefenseFault(message)

    result = play(matchup, attack=Planted(how=frames), defense=LabelOnly(), site=site)
    assert (result.verdict.outcome, result.verdict.fault) == ("crashed", "attack")
    assert not needs_stand_in(result)
    kept, rows = result.counts["utility/kept"]
    assert kept == rows > 0


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
