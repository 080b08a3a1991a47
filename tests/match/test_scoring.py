from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from PIL import Image
from torch import Generator, nn

from arena.contracts import (
    TRACKS,
    Answer,
    Attack,
    AttackContext,
    Defense,
    DefenseContext,
    MatchResult,
    Matchup,
    Oracle,
    QueryBatch,
    Recipe,
    Responder,
    Spec,
    State,
)
from arena.defenses.none import NoDefense
from arena.learning.architectures import build
from arena.learning.composition import answered_by
from arena.learning.distillation import distil
from arena.learning.training import hardened
from arena.match import clone_scores
from arena.match.explanation_scores import EXPLAINED_ROWS
from arena.match.play import play
from arena.match.reference import load_reference
from arena.match.secret import Secret
from arena.match.site import Site
from arena.payoff.matrix import payoff
from arena.registry import build_attack
from tests.players import MATCHUP, Matches, meeting, played, small

KNOCKOFF = MATCHUP.attack


def against(name: str) -> Matchup:
    return meeting(KNOCKOFF, small("defense", name))


def scores(result: MatchResult, track: str) -> dict[str, object]:
    both = {**result.counts, **result.measures}
    return {name.removeprefix(f"{track}/"): value for name, value in both.items() if name.startswith(f"{track}/")}


def test_hard_rows_are_the_argmax_ties_to_the_lowest_and_refused_rows_stay_zero():
    rows = torch.tensor([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.0, 0.0, 0.0]])
    assert hardened(rows).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]


def test_labels_alone_make_tracks_a_and_a_hard_one(matches: Matches):
    result = matches.result(against("label-only"))
    hard = scores(result, "a-hard")
    assert hard == {name: value for name, value in scores(result, "a").items() if name in hard}


@pytest.mark.parametrize("name", ["mad-argmax", "reverse-sigmoid", "none"])
def test_a_defense_that_keeps_the_argmax_leaves_a_hard_that_of_label_only(name: str, matches: Matches):
    result, label_only = matches.result(against(name)), matches.result(against("label-only"))
    assert result.counts["utility/kept"][0] == result.counts["utility/kept"][1]
    assert scores(result, "a-hard") == scores(label_only, "a-hard")


def test_the_argmax_attack_brings_the_clone_of_label_only_bit_for_bit(matches: Matches):
    argmax = Spec(name="argmax", params=(("base", KNOCKOFF),))
    robbed = matches.result(meeting(argmax, small("defense", "mad-argmax")))
    assert robbed.clone_digest == matches.result(against("label-only")).clone_digest


def test_the_curve_has_the_points_that_were_asked_for_and_the_last(matches: Matches):
    result = matches.result(replace(MATCHUP, curve=(10, 25, 1_000)))
    points = {name.split("/")[1] for name in result.counts if name.startswith("curve/")}
    assert points == {"10", "25", "40"}
    assert result.counts["curve/40/a/fidelity"] == result.counts["a/fidelity"]
    alone = matches.result(replace(MATCHUP, budget=25, attack=KNOCKOFF))
    assert result.counts["curve/25/a/fidelity"] == alone.counts["a/fidelity"]


def test_a_clone_that_was_not_trained_to_the_end_is_flagged_where_nothing_is_defended(matches: Matches):
    assert "undertrained" in matches.result(MATCHUP).flags
    assert "undertrained" not in matches.result(replace(MATCHUP, recipe=replace(MATCHUP.recipe, steps=800))).flags
    assert "undertrained" not in matches.result(against("mad-argmax")).flags


def test_the_floor_is_the_same_for_every_match_of_a_seed(matches: Matches):
    floors = [
        scores(matches.result(replace(matchup, seed=seed)), "floor")
        for seed in (0, 1)
        for matchup in (MATCHUP, against("label-only"))
    ]
    assert floors[0] == floors[1] != floors[2] == floors[3]


def test_guards_say_when_uniform_inputs_mean_nothing(matches: Matches):
    result = matches.result(MATCHUP)
    share = result.measures["victim/unif_largest_share"]
    assert 0.1 <= share <= 1
    assert ("uniform inputs degenerate" in result.flags) is (share > 0.9)
    assert -1 <= result.measures["b/unif_kappa"] <= 1
    assert 0 <= result.measures["b/tv_test"] <= 1


def test_a_clone_is_compared_with_the_undefended_victim_on_rows_that_no_player_has(site: Site):
    reference = load_reference(MATCHUP.victim, 0, site)
    assert torch.equal(reference.victim(reference.inputs), reference.posteriors)
    assert len(reference.inputs) == 400
    assert reference.uniform.shape == (10_000, 1, 8, 8)


@dataclass(frozen=True, kw_only=True)
class AskExplained(Attack):
    """Asks for an explanation of every row that it can pay for."""

    needs = frozenset({"explanations"})

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        rows = context.pool[: oracle.remaining // (1 + oracle.explanation_price)]
        answer = oracle.query(rows, explain=True)
        assert answer.explanations is not None
        return distil(build("linear", oracle.task, rng=rng), rows, answer.posteriors, rng=rng, steps=5)


@dataclass(frozen=True, kw_only=True)
class UpsideDown(Defense):
    """Answers as the victim does and explains the opposite."""

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        below, explain = answered_by(context.victim), context.explainer
        assert explain is not None

        def respond(queries: QueryBatch) -> Answer:
            answer = below(queries)
            return replace(answer, explanations=-explain(queries.inputs, answer.posteriors.argmax(dim=1)))

        return respond


@dataclass(frozen=True, kw_only=True)
class Serves(Defense):
    """Serves the victim's rows turned by ``turn`` classes, refuses rows whose mean is larger than ``refuse_above``."""

    turn: int = 0
    refuse_above: float = 1.0
    deployments: ClassVar[list[int]] = []

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        self.deployments.append(self.turn)

        def respond(queries: QueryBatch) -> Answer:
            rows = context.victim(queries.inputs).roll(self.turn, dims=1)
            refused = queries.inputs.flatten(1).mean(dim=1) > self.refuse_above
            return Answer(posteriors=rows * ~refused[:, None], refused=refused)

        return respond


@dataclass(frozen=True, kw_only=True)
class Blank(Defense):
    """Answers as the victim does, with maps that say nothing."""

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        below = answered_by(context.victim)
        return lambda queries: replace(below(queries), explanations=torch.zeros(len(queries.inputs), 8, 8))


@dataclass(frozen=True, kw_only=True)
class Speechless(Defense):
    """Answers as the victim does, and fails as soon as an explanation is wanted."""

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        below = answered_by(context.victim)

        def respond(queries: QueryBatch) -> Answer:
            if queries.explain:
                raise ZeroDivisionError
            return below(queries)

        return respond


class TestExplanations:
    matchup = replace(MATCHUP, explanation=Spec(name="gradient-input"), explanation_price=2, budget=60)

    def test_of_the_victim_are_its_own(self, site: Site):
        result = play(self.matchup, attack=AskExplained(), defense=NoDefense(), site=site)
        assert (result.spent, result.rows) == (60, 20)
        assert result.measures["explanation/rank_correlation"] == pytest.approx(1.0)
        assert result.measures["explanation/top_overlap"] == 1.0
        own = result.measures["explanation/average_drop_own"]
        assert result.measures["explanation/average_drop"] == own

    def test_that_a_defense_turns_round_explain_the_victim_worse(self, site: Site):
        result = play(self.matchup, attack=AskExplained(), defense=UpsideDown(), site=site)
        assert result.measures["explanation/rank_correlation"] == pytest.approx(-1.0)
        assert result.measures["explanation/average_drop"] > result.measures["explanation/average_drop_own"]

    def test_are_compared_on_test_images_image_by_image(self, site: Site):
        turned = replace(self.matchup, defense=Spec(name="planted"))
        result = play(turned, attack=AskExplained(), defense=UpsideDown(), site=site)
        assert result.counts["explanation/moved"] == (0, EXPLAINED_ROWS)
        measures = result.measures
        difference = measures["explanation/average_drop"] - measures["explanation/average_drop_own"]
        assert measures["explanation/drop_difference"] == pytest.approx(difference)
        assert measures["explanation/drop_low"] < difference < measures["explanation/drop_high"]
        assert measures["explanation/drop_p_different"] < 0.01 < measures["explanation/drop_p_equivalent"]
        assert measures["explanation/drop_deviation"] > 0

    def test_of_an_answer_that_moved_are_counted_apart_and_explode_nothing(self, site: Site):
        turned = replace(self.matchup, defense=Spec(name="planted"))
        result = play(turned, attack=AskExplained(), defense=Serves(turn=1), site=site)
        assert result.counts["explanation/moved"] == (EXPLAINED_ROWS, EXPLAINED_ROWS)
        assert not any(name.startswith("explanation/") for name in result.measures)
        some = play(turned, attack=AskExplained(), defense=Serves(refuse_above=0.3), site=site)
        moved = some.counts["explanation/moved"].hits
        assert 0 < moved < EXPLAINED_ROWS
        assert some.measures["explanation/drop_difference"] == 0
        assert some.measures["explanation/drop_p_different"] == 1

    def test_are_shown_as_a_picture_above_each_other(self, site: Site, tmp_path: Path):
        result = play(
            self.matchup,
            attack=AskExplained(),
            defense=UpsideDown(),
            site=replace(site, pictures=tmp_path / "pictures"),
        )
        (name,) = result.pictures
        with Image.open(tmp_path / "pictures" / name) as picture:
            assert picture.size == (8 * 64 + 7 * 2, 3 * 64 + 2 * 2)
            own, served = (picture.convert("L").getpixel((30, top)) for top in (66 + 30, 2 * 66 + 30))
        assert abs(own + served - 255) <= 1  # turned round

    def test_that_are_blank_are_counted(self, site: Site):
        turned = replace(self.matchup, defense=Spec(name="planted"))
        blank = play(turned, attack=build_attack(KNOCKOFF), defense=Blank(), site=site)
        assert blank.counts["explanation/blank"] == (EXPLAINED_ROWS, EXPLAINED_ROWS)
        own = play(self.matchup, attack=build_attack(KNOCKOFF), defense=NoDefense(), site=site)
        assert own.counts["explanation/blank"] == (0, EXPLAINED_ROWS)

    def test_that_cannot_be_made_are_the_defenses_fault(self, site: Site):
        turned = replace(self.matchup, defense=Spec(name="planted"))
        result = play(turned, attack=build_attack(KNOCKOFF), defense=Speechless(), site=site)
        assert (result.verdict.outcome, result.verdict.fault, result.verdict.stage) == ("crashed", "defense", "score")
        assert "b/fidelity" in result.counts

    def test_that_are_not_offered_are_not_scored(self, matches: Matches):
        result = matches.result(MATCHUP)
        assert not any(name.startswith("explanation/") for name in (*result.counts, *result.measures))


class TestTheRefereesClones:
    """Each is trained once for a seed, a recipe and a transfer set, whatever match it belongs to."""

    @pytest.fixture
    def trainings(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        counted: list[int] = []

        def counting(clone: nn.Module, inputs: torch.Tensor, rows: torch.Tensor, **options: object) -> nn.Module:
            counted.append(len(inputs))
            return distil(clone, inputs, rows, **options)  # type: ignore[arg-type]  # passed on as they are

        monkeypatch.setattr(clone_scores, "distil", counting)
        return counted

    @pytest.fixture
    def apart(self, site: Site, tmp_path: Path) -> Site:
        return replace(site, cache=tmp_path / "cache")

    def test_are_shared_by_matches_whose_answers_have_the_same_argmax(self, apart: Site, trainings: list[int]):
        played(MATCHUP, apart)
        assert len(trainings) == 2  # A and A-hard
        played(replace(MATCHUP, defense=Spec(name="rounding", params=(("decimals", 3),))), apart)
        assert len(trainings) == 3  # the argmax rows are those of the first match
        played(replace(MATCHUP, defense=Spec(name="label-only")), apart)
        assert len(trainings) == 3

    def test_score_as_if_each_match_had_trained_its_own(self, apart: Site, tmp_path: Path, trainings: list[int]):
        matchup = replace(MATCHUP, defense=Spec(name="rounding", params=(("decimals", 3),)), curve=(10,))
        played(MATCHUP, apart)
        shared = played(matchup, apart)
        alone = played(matchup, replace(apart, cache=tmp_path / "another"))
        assert shared.counts == alone.counts
        assert {name: shared.measures[name] for name in shared.measures if "seconds" not in name} == {
            name: alone.measures[name] for name in alone.measures if "seconds" not in name
        }

    @pytest.mark.parametrize(
        "other",
        [{"seed": 1}, {"recipe": Recipe(steps=21)}, {"recipe": Recipe(steps=20, arch="linear")}, {"budget": 39}],
        ids=["seed", "steps", "network", "rows"],
    )
    def test_are_others_for_another_seed_recipe_or_transfer_set(
        self, other: dict[str, object], apart: Site, trainings: list[int]
    ):
        played(MATCHUP, apart)
        before = len(trainings)
        played(replace(MATCHUP, **other), apart)  # type: ignore[arg-type]
        assert len(trainings) == before + 2

    def test_are_others_under_another_secret(self, apart: Site, trainings: list[int]):
        played(MATCHUP, apart)
        played(MATCHUP, replace(apart, secret=Secret.stated("another")))
        assert len(trainings) == 4


class TestWhatIsServed:
    """Clones are compared with the decisions of every deployed defense, whatever it declares."""

    def served(self, defense: Serves, site: Site, **terms: object) -> MatchResult:
        matchup = replace(MATCHUP, defense=Spec(name="planted"), **terms)  # type: ignore[arg-type]
        return play(matchup, attack=build_attack(matchup.attack), defense=defense, site=site)

    def test_other_decisions_than_the_victims_are_compared_with_too(self, site: Site):
        result = self.served(Serves(turn=1), site)
        assert result.counts["deployed/accuracy"][0] < result.counts["victim/accuracy"][0]
        assert result.counts["b/fidelity_deployed"][0] > result.counts["b/fidelity"][0]
        assert payoff(result) == max(result.counts[f"{track}/fidelity_deployed"].share for track in TRACKS)

    def test_the_victims_own_decisions_are_not_compared_with_twice(self, site: Site):
        result = self.served(Serves(turn=0), site)
        assert result.counts["deployed/accuracy"] == result.counts["victim/accuracy"]
        assert not any(name.endswith("fidelity_deployed") for name in result.counts)

    def test_a_refused_row_is_not_served_right_and_stays_the_victims(self, site: Site):
        result = self.served(Serves(refuse_above=0.0), site)
        assert result.counts["deployed/accuracy"][0] == 0
        assert "floor/fidelity_deployed" not in result.counts

    def test_a_second_attack_does_not_have_them_asked_again(self, site: Site):
        defense = Serves(turn=2)
        first = self.served(defense, site)
        second = self.served(defense, site, budget=20)
        assert defense.deployments.count(2) == 3  # one for each match, and one for the test rows
        assert first.counts["deployed/accuracy"] == second.counts["deployed/accuracy"]
