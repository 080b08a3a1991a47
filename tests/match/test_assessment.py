from __future__ import annotations

import io
from dataclasses import dataclass, replace

import pytest
import torch
from PIL import Image
from torch import Generator, nn

from arena.contracts import (
    BadParameter,
    BudgetExhausted,
    Defense,
    DefenseContext,
    Oracle,
    Responder,
    Spec,
    State,
    Task,
    Threat,
    ThreatContext,
    ThreatReport,
)
from arena.defenses.none import NoDefense
from arena.learning.composition import answered_by, transformed
from arena.learning.tensors import row_digests
from arena.match.admission import admit
from arena.match.assessment import grid_png, load_judge, named
from arena.match.play import play
from arena.match.site import Site
from arena.match.victims import load_splits
from arena.registry import Registered, build_attack
from arena.registry.builtins import TABLES
from tests.players import MATCHUP, played


@dataclass(frozen=True, kw_only=True)
class AskSome(Threat):
    """Asks ``rows`` test rows and says whose answers the clone shares."""

    rows: int = 10

    def min_budget(self, task: Task) -> int:
        return self.rows

    def assess(self, clone: nn.Module, oracle: Oracle, context: ThreatContext, *, rng: Generator) -> ThreatReport:
        inputs, _ = context.test
        answer = oracle.query(inputs[: self.rows])
        with pytest.raises(BudgetExhausted):
            oracle.query(inputs[: oracle.remaining + 1])
        same = clone(inputs[: self.rows]).argmax(dim=1) == answer.posteriors.argmax(dim=1)
        return ThreatReport(
            counts={"same": (int(same.sum()), self.rows)},
            measures={"bought": float(len(context.transfer_set[0]))},
            grid=inputs[:6].reshape(2, 3, *inputs.shape[1:]),
        )


@dataclass(frozen=True, kw_only=True)
class AnotherModel(Defense):
    """Deploys something else than the victim: the classes turned by one."""

    replaces_victim = True

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        return transformed(answered_by(context.victim), lambda rows, _: rows.roll(1, dims=1))


@pytest.fixture
def ask_some(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"ask-some": Registered(where=f"{__name__}:AskSome")}
    monkeypatch.setitem(TABLES, "threat", table)  # type: ignore[arg-type]


THREATENED = replace(MATCHUP, threats=(Spec(name="ask-some"), Spec(name="ask-some", params=(("rows", 4),))))


def test_threats_are_metered_apart_from_the_extraction_and_counted_by_name(ask_some: None, site: Site):
    result = played(replace(THREATENED, threat_budget=30), replace(site, pictures=site.work / "pictures"))
    assert result.spent == MATCHUP.budget
    assert result.measures["threat/ask-some/spent"] == 10
    assert result.measures["threat/ask-some-2/spent"] == 4
    assert result.counts["threat/ask-some-2/same"][1] == 4
    assert result.measures["threat/ask-some/bought"] == MATCHUP.budget
    assert len(result.pictures) == 2
    with Image.open(site.work / "pictures" / result.pictures[0]) as image:
        assert image.width > image.height  # three columns, two rows


def test_a_threat_without_the_rows_that_it_needs_is_refused_before_the_match(ask_some: None, site: Site):
    matchup = replace(THREATENED, threat_budget=9)
    with pytest.raises(BadParameter, match="threat ask-some needs threat_budget = 10"):
        admit(matchup, build_attack(matchup.attack), NoDefense(), site)


def test_the_judge_has_seen_no_row_of_the_victims_training(site: Site):
    splits = load_splits(MATCHUP.victim, site.data)
    assert not set(row_digests(splits.test[0])) & set(row_digests(splits.training[0]))
    judge = load_judge(MATCHUP.victim, 0, site)
    inputs, labels = splits.training
    assert float((judge(inputs).argmax(dim=1) == labels).float().mean()) > 0.85


def test_a_model_in_the_victims_place_is_scored_beside_the_victim(site: Site):
    matchup = replace(MATCHUP, defense=Spec(name="planted"))
    result = play(matchup, attack=build_attack(matchup.attack), defense=AnotherModel(), site=site)
    turned, victim = result.counts["b/fidelity_deployed"], result.counts["b/fidelity"]
    assert turned[0] > victim[0]  # the clone learned the turned classes
    assert result.counts["deployed/accuracy"][0] < result.counts["victim/accuracy"][0]
    assert "b/fidelity_deployed" not in played(MATCHUP, site).counts


def test_threats_of_one_name_are_numbered():
    assert list(named((Spec(name="a"), Spec(name="b"), Spec(name="a")))) == ["a", "b", "a-2"]


def test_a_grid_becomes_one_picture_with_gaps():
    grid = torch.zeros(2, 3, 1, 8, 8)
    grid[1, 2] = 1.0
    image = Image.open(io.BytesIO(grid_png(grid)))
    assert image.size == (3 * 64 + 2 * 2, 2 * 64 + 2)
    assert image.getpixel((0, 0)) == (0, 0, 0)
    assert image.getpixel((image.width - 1, image.height - 1)) == (255, 255, 255)
