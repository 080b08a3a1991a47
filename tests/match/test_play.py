"""Whole matches with planted players: who is blamed, what is still scored, and when the oracle closes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Generator, nn

from arena.contracts import (
    Answer,
    Attack,
    AttackContext,
    Defense,
    DefenseContext,
    MatchClosed,
    MatchResult,
    Matchup,
    Oracle,
    Promise,
    QueryBatch,
    Responder,
    Spec,
    State,
)
from arena.defenses.none import NoDefense
from arena.learning.architectures import build
from arena.learning.distillation import distil
from arena.learning.release import released
from arena.match import play as play_module
from arena.match.deployment import ledger_path
from arena.match.play import play
from arena.match.site import Limits, Site
from arena.oracle.sqlite_ledger import read_transcript
from arena.payoff.cost import cost_of
from arena.referee.settlement import scored_as
from tests.players import MATCHUP, played, small

Extract = Callable[[Oracle, AttackContext, Generator], nn.Module]
BUDGET = MATCHUP.budget


@dataclass(frozen=True, kw_only=True)
class PlantedAttack(Attack):
    """An attack that is one function."""

    how: Extract

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        return self.how(oracle, context, rng)


@dataclass(frozen=True, kw_only=True)
class PlantedDefense(Defense):
    """Answers as the victim does for ``sound`` rows, then as ``after`` does."""

    after: Callable[[torch.Tensor], Answer]
    sound: int = 0
    promised: Promise = field(default_factory=Promise)

    @property
    def promise(self) -> Promise:
        return self.promised

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        answered = [0]

        def respond(queries: QueryBatch) -> Answer:
            rows = context.victim(queries.inputs)
            answered[0] += len(rows)
            return released(rows) if answered[0] <= self.sound else self.after(rows)

        return respond


def off_the_simplex(rows: torch.Tensor) -> Answer:
    return released(rows * 2)


def refusing(rows: torch.Tensor) -> Answer:
    return Answer(posteriors=torch.zeros_like(rows), refused=torch.ones(len(rows), dtype=torch.bool))


def rotated(rows: torch.Tensor) -> Answer:
    return released(rows.roll(1, dims=1))


def in_two_calls(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    chosen = context.pool[: oracle.remaining]
    answers = torch.cat([oracle.query(part).posteriors for part in chosen.split(BUDGET // 2)])
    return distil(build("mlp", oracle.task, rng=rng), chosen, answers, rng=rng, steps=20)


def half_then_crash(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    oracle.query(context.pool[: BUDGET // 2])
    message = "out of ideas"
    raise RuntimeError(message)


def crash(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    message = "no ideas"
    raise RuntimeError(message)


def overspend(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    oracle.query(context.pool[: BUDGET + 1])
    return build("mlp", oracle.task, rng=rng)


def match(
    site: Site, *, attack: Extract = in_two_calls, defense: Defense | None = None, matchup: Matchup = MATCHUP
) -> MatchResult:
    named = replace(matchup, defense=Spec(name="planted")) if defense else matchup
    return play(named, attack=PlantedAttack(how=attack), defense=defense or NoDefense(), site=site)


class TestASoundMatch:
    def test_scores_every_track_on_every_test_row(self, site: Site):
        result = match(site)
        assert result.verdict.outcome == "completed"
        assert (result.spent, result.rows, result.distinct_rows, result.calls) == (BUDGET, BUDGET, BUDGET, 2)
        for track in ("a", "a-hard", "b", "floor"):
            for score in ("accuracy", "fidelity"):
                assert result.counts[f"{track}/{score}"][1] == 400
        assert result.counts["a/fidelity"] > result.counts["floor/fidelity"]
        assert result.measures["attack/unspent"] == 0

    def test_costs_honest_users_nothing_without_a_defense(self, site: Site):
        result = match(site)
        kept, asked = result.counts["utility/kept"]
        assert kept == asked == BUDGET + BUDGET // 2
        assert result.counts["utility/accuracy"] == result.counts["utility/clean_accuracy"]
        assert result.measures["utility/l1"] == 0
        assert result.counts["promise/argmax_broken"] == (0, 2 * BUDGET + BUDGET // 2)

    def test_says_how_long_honest_users_waited(self, site: Site):
        measures = match(site).measures
        assert 0 < measures["utility/p50_seconds"] <= measures["utility/p95_seconds"]

    def test_counts_which_classes_the_clone_confuses(self, site: Site):
        result = match(site)
        found = result.confusion
        assert (found.track, found.classes) == ("b", 10)
        for counts, name in ((found.victim, "b/fidelity"), (found.labels, "b/accuracy")):
            hits, total = result.counts[name]
            assert (sum(counts[:: found.classes + 1]), sum(counts)) == (hits, total)

    def test_the_clone_of_the_referee_stands_in_for_one_that_was_not_returned(self, site: Site):
        result = match(site, attack=half_then_crash)
        assert result.confusion.track == "a"
        assert sum(result.confusion.victim[:: result.confusion.classes + 1]) == result.counts["a/fidelity"][0]

    def test_counts_the_rows_of_the_attack_that_were_refused(self, site: Site):
        assert match(site).measures["attack/refused"] == 0
        refused = match(site, defense=PlantedDefense(after=refusing, sound=BUDGET // 2))
        assert refused.measures["attack/refused"] == BUDGET // 2

    def test_leaves_a_ledger_with_the_recorded_digest(self, site: Site):
        result = match(site)
        transcript = read_transcript(ledger_path(site, result.matchup, 1))
        assert transcript.digest == result.transcript_digest
        assert len(transcript.attack_inputs) == BUDGET

    def test_is_played_again_over_what_an_interrupted_one_left(self, site: Site):
        first = match(site)
        assert match(site).transcript_digest == first.transcript_digest


class TestAFaultyAttack:
    def test_is_scored_on_the_answers_that_it_got(self, site: Site):
        result = match(site, attack=half_then_crash)
        assert (result.verdict.outcome, result.verdict.fault) == ("crashed", "attack")
        assert "RuntimeError: out of ideas" in result.verdict.output
        assert result.spent == BUDGET // 2
        assert result.measures["attack/unspent"] == BUDGET // 2
        assert "a/fidelity" in result.counts
        assert "b/fidelity" not in result.counts
        assert result.clone_digest == ""

    @pytest.mark.parametrize("attack", [crash, overspend])
    def test_that_got_no_answer_has_the_floor(self, attack: Extract, site: Site):
        result = match(site, attack=attack)
        assert result.verdict.fault == "attack"
        assert result.spent == 0
        assert "floor/fidelity" in result.counts
        assert not any(name.startswith(("a/", "b/", "a-hard/")) for name in result.counts)

    def test_that_is_out_of_time_is_marked(self, site: Site):
        result = match(replace(site, limits=Limits(play=1e-9)))
        assert (result.verdict.outcome, result.verdict.fault) == ("timed out", "attack")
        assert "timed" in result.flags


class TestAFaultyDefense:
    def test_is_blamed_and_the_call_is_not_charged(self, site: Site):
        result = match(site, defense=PlantedDefense(after=off_the_simplex))
        assert (result.verdict.outcome, result.verdict.fault, result.verdict.stage) == ("crashed", "defense", "play")
        assert "not on the simplex" in result.verdict.reason
        assert result.spent == 0

    def test_is_blamed_even_if_the_attack_ended_well(self, site: Site):
        sound = 2 * BUDGET + 1  # the attack's rows, their mirror, and a light account's first
        result = match(site, defense=PlantedDefense(after=off_the_simplex, sound=sound))
        assert result.verdict.fault == "defense"
        assert result.spent == BUDGET
        assert "b/fidelity" in result.counts

    def test_pays_for_every_honest_row_that_it_left_unanswered(self, site: Site):
        faulty = match(site, defense=PlantedDefense(after=off_the_simplex, sound=BUDGET // 2))
        stand_in = match(site, matchup=faulty.matchup.undefended())
        settled = scored_as(faulty, stand_in)
        asked = stand_in.counts["utility/kept"][1]
        kept, total = settled.counts["utility/kept"]
        assert (kept, total) == (faulty.counts.get("utility/kept", (0, 0))[0], asked)
        assert kept < asked
        assert settled.counts["utility/clean_accuracy"] == stand_in.counts["utility/clean_accuracy"]
        cost = cost_of([settled])
        assert cost is not None
        assert cost.division == "open"
        assert settled.counts["a/fidelity"] == stand_in.counts["a/fidelity"]
        assert "scored as none" in settled.flags

    def test_that_cannot_be_deployed_is_blamed_there_and_pays_for_everything(self, site: Site):
        class Broken(NoDefense):
            def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
                message = "no key"
                raise KeyError(message)

        faulty = match(site, defense=Broken())
        assert (faulty.verdict.fault, faulty.verdict.stage) == ("defense", "deploy")
        settled = scored_as(faulty, match(site, matchup=faulty.matchup.undefended()))
        assert settled.counts["utility/accuracy"] == (0, BUDGET + BUDGET // 2)

    def test_that_cannot_be_trained_is_blamed_there(self, site: Site):
        class Untrainable(NoDefense):
            def train(self, context: DefenseContext, *, rng: Generator) -> State:
                message = "no convergence"
                raise ArithmeticError(message)

        result = match(site, defense=Untrainable())
        assert (result.verdict.fault, result.verdict.stage) == ("defense", "prepare")
        assert "no convergence" in result.verdict.reason

    def test_that_breaks_a_promise_is_counted_and_never_repaired(self, site: Site):
        result = match(site, defense=PlantedDefense(after=rotated, promised=Promise(argmax=True)))
        assert result.verdict.outcome == "completed"
        broken, rows = result.counts["promise/argmax_broken"]
        assert broken == rows == 2 * BUDGET + BUDGET // 2

    def test_a_defense_that_refuses_everything_teaches_nothing_and_costs_everything(self, site: Site):
        result = match(site, defense=PlantedDefense(after=refusing))
        assert result.verdict.outcome == "completed"
        assert result.spent == BUDGET
        assert "a/fidelity" not in result.counts
        asked = BUDGET + BUDGET // 2
        assert result.counts["utility/refused"] == (asked, asked)
        assert result.counts["utility/accuracy"] == (0, asked)


def test_the_oracle_is_closed_before_anything_is_scored(site: Site, monkeypatch: pytest.MonkeyPatch):
    kept: list[tuple[Oracle, torch.Tensor]] = []
    refused: list[MatchClosed] = []

    def keeps_the_oracle(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
        kept.append((oracle, context.pool[:1]))
        return build("mlp", oracle.task, rng=rng)

    scoring = play_module.score_match

    def asked_while_scoring(*arguments: object, **named: object) -> MatchResult:
        oracle, row = kept[0]
        with pytest.raises(MatchClosed) as refusal:
            oracle.query(row)
        refused.append(refusal.value)
        return scoring(*arguments, **named)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(play_module, "score_match", asked_while_scoring)
    assert match(site, attack=keeps_the_oracle).spent == 0
    assert len(refused) == 1


def test_an_informed_attack_is_told_the_spec_and_a_blind_one_is_not(site: Site):
    told: list[Spec | None] = []

    def asks(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
        told.append(context.defense)
        return build("mlp", oracle.task, rng=rng)

    rounding = replace(MATCHUP, defense=Spec(name="rounding", params=(("decimals", 1),)))
    for informed in (False, True):
        match(site, attack=asks, matchup=replace(rounding, informed=informed))
    assert told == [None, rounding.defense]


def test_a_players_task_has_no_names(site: Site):
    def looks(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
        assert oracle.task.class_names == ()
        return build("mlp", oracle.task, rng=rng)

    assert match(site, attack=looks).verdict.outcome == "completed"


def test_released_rows_are_rounded_where_the_matchup_says_so(site: Site):
    result = played(replace(MATCHUP, decimals=1), site)
    rows = read_transcript(ledger_path(site, result.matchup, 1)).attack_posteriors
    assert torch.equal(rows, rows.round(decimals=1))


@pytest.mark.parametrize("name", ["adaptive-misinformation", "diverse-ensemble"])
def test_a_defense_that_wants_outliers_plays_without_them(name: str, site: Site):
    result = played(replace(MATCHUP, defense=small("defense", name)), site)  # the matchup declares none
    assert result.verdict.outcome == "completed", result.verdict
    assert "a/fidelity_deployed" in result.counts
    assert not any(key.startswith("audit/") for key in result.measures)
