"""A matchup (who plays whom on which terms), the verdict on a match, and its result."""

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
    """How the referee trains the clones of tracks A and A-hard from a transfer set: the same for every attack."""

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
    informed: bool = False  # the attack is told the defense's spec
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
    threat_budget: int = 1_000  # rows that each threat may ask of the defended victim
    curve: tuple[int, ...] = ()  # rows after which a fresh track A clone is also scored; the last is always there

    @property
    def is_undefended(self) -> bool:
        """Whether nothing stands between attack and victim."""
        return self.defense.name == UNDEFENDED.name

    def undefended(self) -> Matchup:
        """Return the same matchup against the victim without a defense."""
        return replace(self, defense=UNDEFENDED, knowledge=Knowledge())


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a match ended, in which stage and through whose fault, with what the player printed (capped)."""

    outcome: Outcome
    fault: Fault = "nobody"
    stage: str = ""
    reason: str = ""
    output: str = ""


@dataclass(frozen=True, kw_only=True)
class HonestOutcomes:
    """What honest users got for each row of the honest split, packed as hex digits (`arena.metrics.honest_outcomes`).

    ``rows`` and ``clean`` have a bit a row of the split, the first row first: it was asked; it was, and the undefended
    victim reads it right. ``asked`` and ``right`` have a byte for each row that was asked, in the order of the split:
    how often it was asked, and how often the answer was right; a refusal is wrong.
    """

    rows: str
    clean: str
    asked: str
    right: str


@dataclass(frozen=True, kw_only=True)
class MatchResult:
    """The result of a match. Counts are (hits, total) and divided only by the reader; what was not measured is absent."""

    matchup: Matchup
    attempt: int
    verdict: Verdict
    isolation: str  # "in-process", "process" (an actor of its own), or a sandbox's name
    key: str = ""  # matchup, code of both players, version of the rules: an equal key is an equal result
    transcript_digest: str = ""
    clone_digest: str = ""  # empty: no clone came back
    spent: int = 0
    rows: int = 0
    distinct_rows: int = 0
    calls: int = 0
    counts: Mapping[CountName, Count] = field(default_factory=dict)
    measures: Mapping[MeasureName, float] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()  # file names in the run's folder of pictures
    flags: tuple[str, ...] = ()  # of `arena.contracts.flags`
    honest: HonestOutcomes | None = None  # None: nobody asked, or the result is older than the field

    def __post_init__(self) -> None:
        """Make counts of pairs. Raises ValueError for a score that `arena.contracts.scores` does not name."""
        unknown: list[str] = [name for name in self.counts if not is_count(name)]
        unknown += [name for name in self.measures if not is_measure(name)]
        if unknown:
            message = f"no score is called {', '.join(map(repr, unknown))}"
            raise ValueError(message)
        object.__setattr__(self, "counts", {name: Count(*pair) for name, pair in self.counts.items()})
