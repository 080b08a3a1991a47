"""A tournament as a value, and the grid of matchups into which it expands."""

from __future__ import annotations

import itertools
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field

from arena.contracts import (
    Knowledge,
    Matchup,
    PoolKind,
    Recipe,
    Spec,
)
from arena.referee.settlement import REPLAYS

POOLS: tuple[PoolKind, ...] = typing.get_args(PoolKind)


@dataclass(frozen=True, kw_only=True)
class Share:
    """The share of a machine that one actor reserves. Ray counts it; nothing enforces it."""

    cpus: float = 1.0
    gpus: float = 0.0
    custom: tuple[tuple[str, float], ...] = ()  # Ray's custom resources, as in {gpu_node = 0.1}


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The shares of oracle hosts and attack slots, and their numbers; ``slots`` None: as many as the cores allow."""

    oracle: Share = Share(cpus=0.0)
    attack: Share = Share(cpus=1.0)
    oracles: int = 1
    slots: int | None = None

    @property
    def use_gpus(self) -> bool:
        """Whether oracle hosts or attack slots reserve a share of a GPU."""
        return self.oracle.gpus > 0 or self.attack.gpus > 0


@dataclass(frozen=True, kw_only=True)
class SeededVictim:
    """A victim and the seed of its training."""

    victim: Spec
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class DefenseTerms:
    """A defense and what it is given: its outliers and its surrogate."""

    spec: Spec
    knowledge: Knowledge


@dataclass(frozen=True, kw_only=True)
class PoolTerms:
    """A kind of pool and the source of its rows; an empty source means the default for the victim's data."""

    kind: PoolKind
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Tournament:
    """A set of matchups: every combination of what is listed."""

    name: str
    victims: tuple[SeededVictim, ...]
    attacks: tuple[Spec, ...]
    defenses: tuple[DefenseTerms, ...]
    pools: tuple[PoolTerms, ...]
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    informed: tuple[bool, ...] = (False,)
    accounts: int = 1
    explanation: Spec | None = None
    explanation_price: int = 1
    decimals: int | None = None
    recipe: Recipe = field(default_factory=Recipe)
    threats: tuple[Spec, ...] = ()
    threat_budget: int = 1_000
    curve: tuple[int, ...] = ()
    secret: str | None = None  # public, so that everybody can replay the tournament; None: the installation's own
    limits: Mapping[str, float] = field(default_factory=dict)  # seconds per stage
    replays: int = REPLAYS  # how often a match that the infrastructure lost is played again; no result depends on it
    resources: Resources = Resources()

    def matchups(self) -> list[Matchup]:
        """Return the grid with seeds innermost, so that the first matches complete a cell of the table."""
        grid = itertools.product(
            self.victims, self.pools, self.budgets, self.informed, self.defenses, self.attacks, self.seeds
        )
        return [
            Matchup(
                victim=victim.victim,
                victim_seed=victim.seed,
                defense=defense.spec,
                knowledge=defense.knowledge,
                attack=attack,
                informed=informed,
                pool=pool.kind,
                pool_source=pool.source,
                budget=budget,
                accounts=self.accounts,
                seed=seed,
                explanation=self.explanation,
                explanation_price=self.explanation_price,
                decimals=self.decimals,
                recipe=self.recipe,
                threats=self.threats,
                threat_budget=self.threat_budget,
                curve=tuple(point for point in self.curve if point < budget),
            )
            for victim, pool, budget, informed, defense, attack, seed in grid
        ]
