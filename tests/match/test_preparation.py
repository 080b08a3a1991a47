from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Generator, nn

from arena.contracts import (
    UNDEFENDED,
    ArenaFault,
    Attack,
    AttackContext,
    BadParameter,
    DataMissing,
    Defense,
    DefenseContext,
    DefenseFault,
    Knowledge,
    Matchup,
    Need,
    NeedUnmet,
    Oracle,
    OutlierKind,
    PoolKind,
    Promise,
    Recipe,
    Responder,
    Spec,
    State,
    SurrogateKind,
    Task,
    UnknownName,
)
from arena.contracts.flags import COST_NOT_RANKED, DETECTOR_CANNOT_FIRE, HONEST_CANNOT_TRIGGER
from arena.defenses.none import NoDefense
from arena.defenses.rounding import Rounding
from arena.defenses.top_k import TopK
from arena.learning.composition import answered_by
from arena.learning.tensors import row_digests, state_digest
from arena.match.admission import admit
from arena.match.clones import clone_digest
from arena.match.play import stolen_clone
from arena.match.preparation import DefendedVictim, prepare
from arena.match.rows import load_pool
from arena.match.site import Site
from arena.match.victims import load_splits
from arena.registry import build_attack
from arena.registry.building import build_defense
from tests.cluster.tiny import defense_entry
from tests.players import MATCHUP

UNTRAINED = Spec(name="digits", params=(("arch", "mlp"), ("steps", 1)))


@dataclass(frozen=True, kw_only=True)
class Wanting(Attack):
    """An attack that needs something."""

    needs: frozenset[Need] = frozenset()  # type: ignore[misc]  # a field here: each test needs something else
    least: int = 1

    def min_budget(self, task: Task) -> int:
        return self.least

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class WantingDefense(NoDefense):
    """A defense that needs or wants something."""

    needs: frozenset[Need] = frozenset()  # type: ignore[misc]  # a field here: each test needs something else
    optional_needs: frozenset[Need] = frozenset()  # type: ignore[misc]


@dataclass(frozen=True, kw_only=True)
class Watching(NoDefense):
    """A defense that watches accounts, or says that it does."""

    stateful: bool = False
    delay: int = 0

    @property
    def promise(self) -> Promise:
        return Promise(stateful=self.stateful)

    @property
    def detection_delay(self) -> int:
        return self.delay


class TestTheCheckBeforeTheMatch:
    @pytest.mark.parametrize(
        ("need", "unmet", "met"),
        [
            ("pool", {"pool": "none"}, {}),
            ("accounts", {"accounts": 1}, {"accounts": 2}),
            ("defense", {"informed": False}, {"informed": True}),
            ("explanations", {}, None),
        ],
    )
    def test_an_attack_gets_what_it_needs_or_is_refused(self, need: Need, unmet: dict, met: dict | None, site: Site):
        attack = Wanting(needs=frozenset({need}))
        with pytest.raises(NeedUnmet, match=r"attack knockoff needs .*set "):
            admit(replace(MATCHUP, **unmet), attack, NoDefense(), site)
        if met is not None:
            admit(replace(MATCHUP, **met), attack, NoDefense(), site)

    @pytest.mark.parametrize("need", ["outliers", "surrogate"])
    def test_a_defense_gets_what_it_needs_or_is_refused(self, need: Need, site: Site):
        defense = WantingDefense(needs=frozenset({need}))
        with pytest.raises(NeedUnmet, match=f"defense none needs {need}: declare {need}"):
            admit(MATCHUP, Wanting(), defense, site)
        admit(replace(MATCHUP, knowledge=Knowledge(outliers="far", surrogate="random")), Wanting(), defense, site)

    def test_outliers_that_could_come_from_the_pools_source_alone_are_refused(self, site: Site):
        matchup = replace(MATCHUP, pool="near", knowledge=Knowledge(outliers="near"))
        with pytest.raises(BadParameter, match="State another outlier_source"):
            admit(matchup, Wanting(), NoDefense(), site)

    def test_a_defense_that_only_wants_outliers_plays_without(self, site: Site):
        admit(MATCHUP, Wanting(), WantingDefense(optional_needs=frozenset({"outliers"})), site)

    def test_a_defense_that_does_not_fit_the_task_is_refused(self, site: Site):
        with pytest.raises(BadParameter, match="this task has 10 classes"):
            admit(MATCHUP, Wanting(), TopK(k=11), site)

    @pytest.mark.parametrize(
        ("budget", "said"),
        [(0, "is 0 rows; it must be 1"), (-5, "is -5 rows; it must be 1"), (9, "needs a query budget of 10 rows")],
    )
    def test_a_budget_that_cannot_be_played_is_refused(self, budget: int, said: str, site: Site):
        with pytest.raises(BadParameter, match=said):
            admit(replace(MATCHUP, budget=budget), Wanting(least=10), NoDefense(), site)

    @pytest.mark.parametrize(
        ("terms", "error", "said"),
        [
            ({"explanation": Spec(name="grad-can")}, UnknownName, "no explanation is called 'grad-can'"),
            ({"victim": Spec(name="digits", params=(("arch", "mpl"),))}, BadParameter, "no architecture 'mpl'"),
            ({"victim": Spec(name="iris", params=(("arch", "lenet"),))}, BadParameter, "lenet takes images"),
            (
                {"victim": Spec(name="digits", params=(("arch", "vgg11"),))},
                BadParameter,
                "vgg11 does not accept inputs",
            ),
            ({"recipe": Recipe(arch="mpl")}, BadParameter, "no architecture 'mpl'"),
            ({"pool": "near", "pool_source": "glyfs"}, UnknownName, "no data set 'glyfs'"),
            ({"pool": "near", "pool_source": "cifar-10"}, DataMissing, "download=True"),
            ({"pool": "same", "pool_source": "glyphs"}, BadParameter, "no source to choose"),
        ],
        ids=["explanation", "architecture", "images-only", "too-small", "recipe", "source", "missing", "no-source"],
    )
    def test_what_would_fail_later_fails_now(self, terms: dict, error: type[Exception], said: str, site: Site):
        with pytest.raises(error, match=said):
            admit(replace(MATCHUP, **terms), Wanting(), NoDefense(), site)

    def test_flags_honest_traffic_that_cannot_mirror_the_budget(self, site: Site):
        iris = replace(MATCHUP, victim=Spec(name="iris"))
        assert admit(replace(iris, budget=10), Wanting(), NoDefense(), site) == ()
        assert admit(replace(iris, budget=400), Wanting(), NoDefense(), site) == ("honest rows short",)

    @pytest.mark.parametrize(("stateful", "ranked"), [(False, True), (True, False)])
    def test_a_defense_that_may_wait_until_honest_users_have_asked_is_not_ranked(
        self, stateful: bool, ranked: bool, site: Site
    ):
        iris = replace(MATCHUP, victim=Spec(name="iris", params=(("arch", "mlp"), ("steps", 20))), budget=400)
        flags = admit(iris, Wanting(), Watching(stateful=stateful), site)
        assert (COST_NOT_RANKED not in flags) is ranked
        assert COST_NOT_RANKED not in admit(replace(iris, budget=10), Wanting(), Watching(stateful=stateful), site)

    def test_an_entry_whose_cost_rests_on_too_few_rows_is_not_ranked(self, site: Site, tmp_path: Path):
        entry = defense_entry(tmp_path / "mine")
        iris = replace(MATCHUP, victim=Spec(name="iris", params=(("arch", "mlp"), ("steps", 20))), defense=entry)
        assert COST_NOT_RANKED in admit(replace(iris, budget=400), Wanting(), build_defense(entry), site)

    def test_flags_a_detector_that_cannot_fire_on_the_attack_or_on_honest_users(self, site: Site):
        for delay, expected in (
            (40, set()),
            (41, {DETECTOR_CANNOT_FIRE}),
            (401, {DETECTOR_CANNOT_FIRE, HONEST_CANNOT_TRIGGER}),
        ):
            assert set(admit(MATCHUP, Wanting(), Watching(delay=delay), site)) == expected
        long = replace(MATCHUP, budget=500)
        assert HONEST_CANNOT_TRIGGER in admit(long, Wanting(), Watching(delay=450), site)
        assert DETECTOR_CANNOT_FIRE not in admit(long, Wanting(), Watching(delay=450), site)


def knowing(outliers: OutlierKind = "none", surrogate: SurrogateKind = "none", **terms: object) -> Matchup:
    knowledge = Knowledge(outliers=outliers, surrogate=surrogate)
    return replace(MATCHUP, victim=UNTRAINED, knowledge=knowledge, **terms)  # type: ignore[arg-type]  # of a matchup


class TestOutliers:
    def test_that_are_the_pool_leak(self, site: Site):
        prepared = prepare(knowing("pool"), NoDefense(), site)
        pool = load_pool(UNTRAINED, "same", "", site)
        assert prepared.context.outliers is not None
        assert set(row_digests(prepared.context.outliers)) <= set(row_digests(pool))
        assert prepared.flags == ("leak",)
        assert dict(prepared.measures)["audit/overlap"] == len(pool)

    @pytest.mark.parametrize("kind", ["near", "far"])
    def test_of_another_kind_than_the_pool_do_not(self, kind: OutlierKind, site: Site):
        prepared = prepare(knowing(kind), NoDefense(), site)
        measures = dict(prepared.measures)
        assert prepared.flags == ()
        assert measures["audit/overlap"] == 0
        assert measures["audit/p"] <= 0.05
        assert measures["audit/power"] >= 0.8
        assert prepared.context.outliers is not None
        assert not set(row_digests(prepared.context.outliers)) & load_splits(UNTRAINED, None).kept_from_attackers

    @pytest.mark.parametrize("pool", ["same", "near", "far", "universe", "none"])
    def test_come_by_default_from_where_they_give_nothing_away(self, pool: PoolKind, site: Site):
        assert "leak" not in prepare(knowing("far", pool=pool), NoDefense(), site).flags

    @pytest.mark.parametrize(
        ("kind", "source", "pool"),
        [("near", "glyphs", "near"), ("far", "textures", "far"), ("near", "glyphs", "universe")],
    )
    def test_from_the_source_of_the_pool_leak(self, kind: OutlierKind, source: str, pool: PoolKind, site: Site):
        terms = replace(knowing(pool=pool), knowledge=Knowledge(outliers=kind, outlier_source=source))
        prepared = prepare(terms, NoDefense(), site)
        assert prepared.flags == ("leak",)
        assert dict(prepared.measures)["audit/overlap"] == 0

    def test_from_another_source_than_a_pool_of_their_kind_do_not(self, site: Site):
        assert prepare(knowing("far", pool="far", pool_source="noise"), NoDefense(), site).flags == ()

    def test_are_not_given_to_a_defense_that_may_not_know_them(self, site: Site):
        prepared = prepare(knowing(), NoDefense(), site)
        assert (prepared.context.outliers, prepared.context.surrogate, prepared.flags) == (None, None, ())


class TestSurrogates:
    @pytest.mark.parametrize("kind", ["random", "same-architecture", "other-architecture"])
    def test_are_networks_for_the_task(self, kind: SurrogateKind, site: Site, quick_recipe: None):
        prepared = prepare(knowing(surrogate=kind), NoDefense(), site)
        surrogate = prepared.context.surrogate
        assert surrogate is not None
        assert not surrogate.training
        assert (surrogate.architecture == "mlp") is (kind != "other-architecture")
        assert surrogate(load_splits(UNTRAINED, None).pool[:3]).shape == (3, 10)

    def test_the_attackers_is_what_it_stole_in_a_shadow_match(self, site: Site):
        matchup = knowing(surrogate="attacker")
        attack = build_attack(matchup.attack)
        stolen: list[nn.Module] = []

        def shadow(terms: Matchup) -> nn.Module:
            assert (terms.defense, terms.knowledge) == (UNDEFENDED, Knowledge())
            stolen.append(stolen_clone(terms, attack, site))
            return stolen[-1]

        prepared = prepare(matchup, NoDefense(), site, shadow=shadow)
        again = prepare(replace(matchup, decimals=2, informed=True), NoDefense(), site, shadow=shadow)
        assert len(stolen) == 1
        for found in (prepared, again):
            assert found.context.surrogate is not None
            assert clone_digest(found.context.surrogate) == clone_digest(stolen[0])
        prepare(replace(matchup, seed=1), NoDefense(), site, shadow=shadow)
        assert len(stolen) == 2

    def test_the_attackers_cannot_be_had_without_a_shadow_match(self, site: Site):
        with pytest.raises(ArenaFault, match="is not in the cache and cannot be made here"):
            prepare(knowing(surrogate="attacker", seed=77), NoDefense(), site)


@pytest.fixture
def quick_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained surrogates take the recipe's steps, which take seconds."""
    monkeypatch.setattr("arena.learning.distillation.MIN_STEPS", 20)
    monkeypatch.setattr("arena.learning.distillation.MAX_STEPS", 20)


@dataclass(frozen=True, kw_only=True)
class Trained(Defense):
    """A defense with something to train; ``strength`` acts when it replies."""

    trained_by: ClassVar[frozenset[str]] = frozenset({"width"})
    trainings: ClassVar[list[int]] = []

    width: int = 1
    strength: float = 0.5
    fails: bool = field(default=False)

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        if self.fails:
            message = "no GPU"
            raise RuntimeError(message)
        self.trainings.append(self.width)
        return {"weights": torch.rand(self.width, generator=rng), "steps": torch.tensor(3)}

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        return answered_by(context.victim)


@pytest.fixture
def trainings() -> Iterator[list[int]]:
    Trained.trainings.clear()
    yield Trained.trainings
    Trained.trainings.clear()


class TestTraining:
    def test_happens_once_for_what_acts_only_in_replies_and_again_for_what_it_reads(
        self, site: Site, trainings: list[int]
    ):
        def state_of(defense: Trained, **terms: object) -> str:
            return state_digest(self.prepared(defense, site, **terms).state)

        first = state_of(Trained(width=2, strength=0.5))
        assert state_of(Trained(width=2, strength=0.9)) == first
        assert state_of(Trained(width=2), seed=5, budget=7, pool="near") == first
        assert trainings == [2]
        assert state_of(Trained(width=3)) != first
        assert trainings == [2, 3]
        assert state_of(Trained(width=2), victim_seed=1) != first
        assert trainings == [2, 3, 2]

    def test_of_a_base_follows_the_fields_that_the_base_reads_and_no_field_on_top(
        self, site: Site, trainings: list[int]
    ):
        def state_of(**fields: object) -> str:
            base = Trained(**fields)  # type: ignore[arg-type]
            return state_digest(prepare(knowing(), Rounding(decimals=2, base=base), site).state)

        first = state_of(width=2, strength=0.5)
        assert state_of(width=2, strength=0.9) == first
        assert trainings == [2]
        assert state_of(width=3) != first

    def test_happens_again_after_a_change_to_any_module_of_an_entry(self, site: Site, tmp_path: Path):
        def trained(width: int) -> str:
            spec = defense_entry(
                tmp_path / str(width),
                training="from .tools import WIDTH; import torch; return {'width': torch.tensor(WIDTH)}",
            )
            (tmp_path / str(width) / "tools.py").write_text(f"WIDTH = {width}\n")
            return state_digest(prepare(knowing(), build_defense(spec), site).state)

        assert trained(2) != trained(3)

    def test_gives_its_tensors_to_deployment(self, site: Site, trainings: list[int]):
        state = self.prepared(Trained(width=4), site).state
        assert state["weights"].shape == (4,)
        assert int(state["steps"]) == 3

    def test_that_fails_is_the_defenses_fault(self, site: Site, trainings: list[int]):
        with pytest.raises(DefenseFault, match="the training of none failed: RuntimeError: no GPU"):
            self.prepared(Trained(fails=True, width=9), site)

    def prepared(self, defense: Trained, site: Site, **terms: object) -> DefendedVictim:
        return prepare(knowing(**terms), defense, site)  # type: ignore[arg-type]  # fields of a matchup
