"""The names of scores, each typed once: a name means the same in tables, files and MLflow, and a misspelt one is an error.

A *count* is (hits, total), divided once, by the reader; a *measure* is a number. Names have two parts or more: what was
scored, and how. A clone is scored under its track: ``a``, ``a-hard``, ``b``, ``floor``, or ``curve/ROWS/a`` for a fresh
track A clone after so many rows.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, NewType, TypeAlias

CountName = NewType("CountName", str)
MeasureName = NewType("MeasureName", str)

Track: TypeAlias = Literal["a", "a-hard", "b", "floor"]
TRACKS: tuple[Track, ...] = ("a", "a-hard", "b")
"""The clones of which the best is a match's payoff: the referee's from the answers, from their argmax, the attack's own."""

CloneCount = Literal["accuracy", "fidelity", "fidelity_deployed", "fidelity_unif"]
CloneMeasure = Literal["tv_test", "tv_unif", "unif_kappa", "divergence"]

VICTIM_ACCURACY = CountName("victim/accuracy")
DEPLOYED_ACCURACY = CountName("deployed/accuracy")  # of a model that a defense puts in the victim's place

KEPT = CountName("utility/kept")  # honest rows whose decision is the undefended victim's
HONEST_ACCURACY = CountName("utility/accuracy")  # refusals counted wrong
CLEAN_ACCURACY = CountName("utility/clean_accuracy")  # the undefended victim's on the same rows
REFUSED = CountName("utility/refused")
SHIFTED = CountName("utility/changed")  # answered rows whose posteriors moved; decisions that moved are not `KEPT`
ONE_HOT = CountName("utility/one_hot")
HONEST_HEAVY = CountName("honest/heavy")  # rows that the heavy honest account asked, of those that the rules want
HONEST_LIGHT = CountName("honest/light")  # the same of the light accounts together
ARGMAX_BROKEN = CountName("promise/argmax_broken")
L1_BROKEN = CountName("promise/l1_broken")

UNIFORM_LARGEST_SHARE = MeasureName("victim/unif_largest_share")
L1 = MeasureName("utility/l1")
L1_MAX = MeasureName("utility/l1_max")
ECE = MeasureName("utility/ece")
ECE_CLEAN = MeasureName("utility/ece_clean")
BRIER_COST = MeasureName("utility/brier_cost")
LOG_LOSS = MeasureName("utility/log_loss")
AUDIT_OVERLAP = MeasureName("audit/overlap")
AUDIT_TWO_SAMPLE = MeasureName("audit/two_sample")  # of results before rules 2: accuracy of a linear classifier
AUDIT_P = MeasureName("audit/p")  # of outliers and pool being of one distribution
AUDIT_POWER = MeasureName("audit/power")  # of that test at the numbers of rows at hand
AUDIT_PART = MeasureName("audit/part")  # share of the outliers that lie where the pool does
AUDIT_PART_P = MeasureName("audit/part_p")  # of that part and the pool being of one distribution
AUDIT_COPIES = MeasureName("audit/copies")  # outliers that are near copies of a row of the pool
AVERAGE_DROP = MeasureName("explanation/average_drop")
AVERAGE_DROP_OWN = MeasureName("explanation/average_drop_own")
TOP_OVERLAP = MeasureName("explanation/top_overlap")
RANK_CORRELATION = MeasureName("explanation/rank_correlation")
ATTACK_WALL_SECONDS = MeasureName("attack/wall_seconds")
ATTACK_CPU_SECONDS = MeasureName("attack/cpu_seconds")
UNSPENT = MeasureName("attack/unspent")  # units of the budget
SCORE_WALL_SECONDS = MeasureName("score/wall_seconds")
SCORE_CPU_SECONDS = MeasureName("score/cpu_seconds")

_COUNTS = frozenset({
    VICTIM_ACCURACY, DEPLOYED_ACCURACY, KEPT, HONEST_ACCURACY, CLEAN_ACCURACY, REFUSED, SHIFTED, ONE_HOT, ARGMAX_BROKEN,
    L1_BROKEN, HONEST_HEAVY, HONEST_LIGHT,
})  # fmt: skip
_MEASURES = frozenset({
    UNIFORM_LARGEST_SHARE, L1, L1_MAX, ECE, ECE_CLEAN, BRIER_COST, LOG_LOSS, AUDIT_OVERLAP, AUDIT_TWO_SAMPLE, AUDIT_P,
    AUDIT_POWER, AUDIT_PART, AUDIT_PART_P, AUDIT_COPIES,
    AVERAGE_DROP, AVERAGE_DROP_OWN, TOP_OVERLAP, RANK_CORRELATION, ATTACK_WALL_SECONDS, ATTACK_CPU_SECONDS, UNSPENT,
    SCORE_WALL_SECONDS, SCORE_CPU_SECONDS,
})  # fmt: skip
_TRACK = r"(a|a-hard|b|floor|curve/\d+/a)"
_THREAT = re.compile(r"threat/[^/]+/.+")  # what a threat counts, its author names
_CLONE_COUNT = re.compile(rf"{_TRACK}/(accuracy|fidelity|fidelity_deployed|fidelity_unif)")
_CLONE_MEASURE = re.compile(rf"{_TRACK}/(tv_test|tv_unif|unif_kappa|divergence)")


class Count(NamedTuple):
    """So many of so many."""

    hits: int
    total: int

    @property
    def share(self) -> float:
        """Hits over total; a count of nothing has none. Raises ZeroDivisionError."""
        return self.hits / self.total


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Counts and measures by name."""

    counts: Mapping[CountName, Count] = field(default_factory=dict)
    measures: Mapping[MeasureName, float] = field(default_factory=dict)


def clone_count(track: str, what: CloneCount) -> CountName:
    """Return the name of a count of the clone of a track, such as ``a-hard/fidelity``."""
    return CountName(f"{track}/{what}")


def clone_measure(track: str, what: CloneMeasure) -> MeasureName:
    """Return the name of a measure of the clone of a track, such as ``b/tv_test``."""
    return MeasureName(f"{track}/{what}")


def curve_track(rows: int) -> str:
    """Return the track of a fresh track A clone that was trained on the first ``rows`` rows."""
    return f"curve/{rows}/a"


def threat_count(threat: str, what: str) -> CountName:
    """Return the name of what a threat counted."""
    return CountName(f"threat/{threat}/{what}")


def threat_measure(threat: str, what: str) -> MeasureName:
    """Return the name of what a threat measured."""
    return MeasureName(f"threat/{threat}/{what}")


def is_threat(name: CountName | MeasureName) -> bool:
    """Whether a name is that of a threat's score: ``threat/NAME/...``."""
    return name.startswith("threat/")


@functools.cache
def is_count(name: str) -> bool:
    """Whether a count of this name can stand in a result."""
    return name in _COUNTS or bool(_CLONE_COUNT.fullmatch(name) or _THREAT.fullmatch(name))


@functools.cache
def is_measure(name: str) -> bool:
    """Whether a measure of this name can stand in a result."""
    return name in _MEASURES or bool(_CLONE_MEASURE.fullmatch(name) or _THREAT.fullmatch(name))
