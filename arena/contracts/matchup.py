"""Matchups, which say who plays whom on which terms, and the verdicts and results of matches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from arena.contracts.defense import Knowledge
from arena.contracts.scores import Count, CountName, MeasureName, is_count, is_measure
from arena.contracts.spec import UNDEFENDED, PoolKind, Spec

Outcome = Literal["completed", "timed out", "crashed", "disqualified", "infrastructure"]
Fault = Literal["nobody", "attack", "defense", "arena"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the referee trains the clones of tracks A and A-hard from a transfer set, whatever the attack."""

    arch: str = "auto"
    steps: int | None = None  # None: learning.distillation.recipe_steps(rows)


@dataclass(frozen=True, kw_only=True)
class Matchup:
    """Who plays whom on which terms. It converts to JSON and back, and its hash is its id."""

    victim: Spec
    victim_seed: int
    defense: Spec
    knowledge: Knowledge
    attack: Spec
    informed: bool = False  # whether the attack is given the defense's spec
    pool: PoolKind
    pool_source: str = ""  # data set or generator of the pool; empty: the default source of the victim's data
    budget: int
    accounts: int = 1
    seed: int
    explanation: Spec | None = None
    explanation_price: int = 1
    decimals: int | None = None  # None: released rows are not rounded
    recipe: Recipe = Recipe()
    threats: tuple[Spec, ...] = ()  # what the referee tries with the finished clone
    threat_budget: int = 1_000  # rows that each threat may query from the defended victim
    curve: tuple[int, ...] = ()  # also score a fresh track A clone after so many rows; the last row is always included

    @property
    def is_undefended(self) -> bool:
        """Whether the attack queries the victim without a defense."""
        return self.defense.name == UNDEFENDED.name

    def undefended(self) -> Matchup:
        """Return the same matchup against the victim without a defense."""
        return replace(self, defense=UNDEFENDED, knowledge=Knowledge())


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a match ended, in which stage and through whose fault, with the beginning of the player's own output."""

    outcome: Outcome
    fault: Fault = "nobody"
    stage: str = ""
    reason: str = ""
    output: str = ""


@dataclass(frozen=True, kw_only=True)
class HonestOutcomes:
    """The answers to honest users for each row of the honest split, packed as hex digits.

    ``rows`` and ``clean`` have one bit for each row of the split, the first row first: whether the row was queried, and
    whether it was queried and the undefended victim classifies it correctly. ``asked`` and ``right`` have one byte for
    each queried row, in the order of the split: how often it was queried, and how often the answer was correct; a
    refusal counts as wrong. `arena.metrics.honest_outcomes` packs and unpacks them.
    """

    rows: str
    clean: str
    asked: str
    right: str


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Which classes a clone confuses on the test rows; not recorded for tasks of many classes.

    Both matrices are (classes, classes), row by row: how many test rows of the class of the row, as the undefended victim
    decides it or as it is labelled, the clone gives the class of the column.
    """

    track: Literal["a", "b"]  # b: the attack's own clone; a: the referee's, if that could not be scored
    classes: int
    victim: tuple[int, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class MatchResult:
    """The result of a match. Counts are (hits, total), which only readers divide; what was not measured is absent."""

    matchup: Matchup
    attempt: int
    verdict: Verdict
    isolation: str  # "in-process", "process" (an actor of its own), or the name of a sandbox
    key: str = ""  # a digest of everything that the result depends on: a result with an equal key is equal
    transcript_digest: str = ""
    clone_digest: str = ""  # empty if the attack returned no clone
    spent: int = 0
    rows: int = 0
    distinct_rows: int = 0
    calls: int = 0
    counts: Mapping[CountName, Count] = field(default_factory=dict)
    measures: Mapping[MeasureName, float] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()  # names of files in the run's ``pictures`` folder
    flags: tuple[str, ...] = ()  # see `arena.contracts.flags`
    honest: HonestOutcomes | None = None  # None if honest users queried nothing, or in results from before this field
    confusion: Confusion | None = None  # None without a clone, for many classes, or in results from before this field

    def __post_init__(self) -> None:
        """Convert pairs to counts. Raises ValueError for a score that `arena.contracts.scores` does not name."""
        unknown: list[str] = [name for name in self.counts if not is_count(name)]
        unknown += [name for name in self.measures if not is_measure(name)]
        if unknown:
            message = f"no score is called {', '.join(map(repr, unknown))}"
            raise ValueError(message)
        object.__setattr__(self, "counts", {name: Count(*pair) for name, pair in self.counts.items()})
