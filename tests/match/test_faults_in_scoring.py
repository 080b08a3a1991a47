"""Whatever a player does while it is scored is an outcome: blamed, with everything else scored."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Generator, Tensor, nn

from arena.contracts import (
    Answer,
    Attack,
    AttackContext,
    Defense,
    DefenseContext,
    MatchResult,
    Oracle,
    QueryBatch,
    Responder,
    Spec,
    State,
    Threat,
    ThreatContext,
    ThreatReport,
)
from arena.defenses.none import NoDefense
from arena.match.play import play
from arena.match.site import Site
from arena.oracle.interrupts import OperatorInterrupt, raise_on_signals
from arena.referee.settlement import needs_stand_in, scored_as
from arena.registry import Registered
from arena.registry.builtins import TABLES
from tests.players import MATCHUP

THREATENED = replace(MATCHUP, threats=(Spec(name="evasion", params=(("steps", 2),)),), threat_budget=40)


@pytest.fixture(autouse=True)
def operators_signals() -> Iterator[None]:
    """With our handlers in place a KeyboardInterrupt can only be a player's."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    raise_on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Clone(nn.Module):
    """A linear clone that does ``then`` from its second forward on: the first one is the probe of the stage."""

    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.then, self.calls = then, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = self.network(inputs)
        return logits if self.calls == 1 else self.then(logits)


@dataclass(frozen=True, kw_only=True)
class ReturnsClone(Attack):
    """Spends its budget and returns a clone that misbehaves when it is scored."""

    then: Callable[[Tensor], Tensor]

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        oracle.query(context.pool[: oracle.remaining])
        return Clone(self.then).eval()


@dataclass(frozen=True, kw_only=True)
class FailsOn(Defense):
    """The victim, until rows come that ``fails`` knows."""

    fails: Callable[[Tensor], bool]
    replaces: bool = field(default=False)

    @property
    def replaces_victim(self) -> bool:  # type: ignore[override]  # a field of this planted one
        return self.replaces

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        def respond(queries: QueryBatch) -> Answer:
            if self.fails(queries.inputs):
                raise ZeroDivisionError
            rows = context.victim(queries.inputs)
            return Answer(posteriors=rows, refused=torch.zeros(len(rows), dtype=torch.bool))

        return respond


def raising(error: BaseException) -> Callable[[Tensor], Tensor]:
    def then(logits: Tensor) -> Tensor:
        raise error

    return then


def scored(site: Site, then: Callable[[Tensor], Tensor], *, threatened: bool = False) -> MatchResult:
    matchup = THREATENED if threatened else MATCHUP
    return play(matchup, attack=ReturnsClone(then=then), defense=NoDefense(), site=site)


@pytest.mark.parametrize(
    "then",
    [
        raising(ValueError("broken")),
        raising(SystemExit(0)),
        raising(KeyboardInterrupt()),
        lambda logits: logits * torch.nan,
        lambda logits: logits[:, :3],
        lambda logits: None,
    ],
    ids=["raises", "exits", "interrupts", "is-not-finite", "has-other-classes", "returns-nothing"],
)
def test_a_clone_that_fails_while_it_is_scored_is_blamed_and_the_answers_are_scored(
    then: Callable[[Tensor], Tensor], site: Site
):
    result = scored(site, then)
    verdict = result.verdict
    assert (verdict.outcome, verdict.fault, verdict.stage) == ("crashed", "attack", "score")
    assert "the clone" in verdict.reason
    assert result.counts["a/fidelity"][1] == result.counts["a-hard/fidelity"][1] == 400
    assert result.counts["utility/kept"][1] > 0
    assert not any(name.startswith("b/") for name in (*result.counts, *result.measures))
    assert result.spent == MATCHUP.budget


def test_a_clone_without_gradients_is_scored_but_not_by_a_threat_that_needs_them(site: Site):
    result = scored(site, lambda logits: logits.detach(), threatened=True)
    assert (result.verdict.fault, result.verdict.stage) == ("attack", "score")
    assert "gradients" in result.verdict.reason
    assert "b/fidelity" in result.counts
    assert not any(name.startswith("threat/") for name in result.counts)


def test_the_operators_interrupt_ends_the_scoring(site: Site):
    def interrupted(logits: Tensor) -> Tensor:
        signal.raise_signal(signal.SIGINT)
        return logits

    with pytest.raises(OperatorInterrupt):
        scored(site, interrupted)


def far_from_natural(inputs: Tensor) -> bool:
    """Whether a call has a row that evasion has perturbed: natural digits are multiples of 1/16."""
    levels = inputs * 16
    return bool((levels - levels.round()).abs().max() > 1e-3)


def test_a_defense_that_fails_on_a_threats_rows_alone_is_blamed_and_scored_as_none(site: Site):
    attack = ReturnsClone(then=lambda logits: logits)
    matchup = replace(THREATENED, defense=Spec(name="planted"))
    faulty = play(matchup, attack=attack, defense=FailsOn(fails=far_from_natural), site=site)
    assert (faulty.verdict.outcome, faulty.verdict.fault, faulty.verdict.stage) == ("crashed", "defense", "score")
    assert faulty.counts["utility/kept"] == (faulty.counts["utility/kept"].total,) * 2
    assert needs_stand_in(faulty)
    stand_in = play(matchup.undefended(), attack=attack, defense=NoDefense(), site=site)
    settled = scored_as(faulty, stand_in)
    assert settled.counts["threat/evasion/0.05/pgd"] == stand_in.counts["threat/evasion/0.05/pgd"]


def test_a_defense_that_fails_on_the_referees_rows_alone_is_blamed(site: Site):
    def large(inputs: Tensor) -> bool:
        return len(inputs) > MATCHUP.budget

    matchup = replace(MATCHUP, defense=Spec(name="planted"))
    attack = ReturnsClone(then=lambda logits: logits)
    result = play(matchup, attack=attack, defense=FailsOn(fails=large, replaces=True), site=site)
    assert (result.verdict.fault, result.verdict.stage) == ("defense", "score")
    assert "b/fidelity" in result.counts
    assert "deployed/accuracy" not in result.counts


@dataclass(frozen=True, kw_only=True)
class BrokenThreat(Threat):
    """Fails whatever clone and defense it is given, and measures nothing finite before."""

    breaks: bool = True

    def assess(self, clone: nn.Module, oracle: Oracle, context: ThreatContext, *, rng: Generator) -> ThreatReport:
        if self.breaks:
            raise ZeroDivisionError
        return ThreatReport(measures={"distance": float("nan"), "asked": 1.0})


@pytest.fixture
def broken_threat(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"broken": Registered(where=f"{__name__}:BrokenThreat")}
    monkeypatch.setitem(TABLES, "threat", table)  # type: ignore[arg-type]  # a mapping of tables by role


def test_a_threat_that_fails_by_itself_blames_nobody_and_is_flagged(broken_threat: None, site: Site):
    threats = (Spec(name="broken"), Spec(name="broken", params=(("breaks", False),)))
    attack = ReturnsClone(then=lambda logits: logits)
    result = play(replace(MATCHUP, threats=threats), attack=attack, defense=NoDefense(), site=site)
    assert result.verdict.outcome == "completed"
    assert "threat broken failed" in result.flags
    assert result.measures["threat/broken-2/asked"] == 1
    assert "threat/broken-2/distance" not in result.measures  # what is not a number is absent


def test_a_settled_fault_takes_counts_and_measures_of_the_clones_from_one_match(site: Site):
    def after_a_while(inputs: Tensor) -> bool:
        return len(inputs) < 8

    matchup = replace(MATCHUP, defense=Spec(name="planted"))
    attack = ReturnsClone(then=lambda logits: logits)
    faulty = play(matchup, attack=attack, defense=FailsOn(fails=after_a_while), site=site)
    assert faulty.verdict.fault == "defense"
    stand_in = play(matchup.undefended(), attack=attack, defense=NoDefense(), site=site)
    settled = scored_as(faulty, stand_in)
    for track in ("a", "a-hard", "floor"):
        assert settled.measures[f"{track}/tv_test"] == stand_in.measures[f"{track}/tv_test"]
        assert settled.counts[f"{track}/fidelity"] == stand_in.counts[f"{track}/fidelity"]
    assert settled.measures["attack/unspent"] == faulty.measures["attack/unspent"]
