"""The names of all scores: a name means the same in tables, files and MLflow, and an unknown name is an error.

A *count* is (hits, total), which only the reader divides; a *measure* is a number. A name has two or more parts: what
was scored, and how. A clone is scored under its track: ``a``, ``a-hard``, ``b``, ``floor``, or ``curve/ROWS/a`` for a
fresh track A clone that was trained on the first ROWS rows.
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
"""The tracks whose best clone is the payoff: trained by the referee on the answers, on their argmax, by the attack."""

CloneCount = Literal["accuracy", "fidelity", "fidelity_deployed", "fidelity_unif"]
CloneMeasure = Literal["tv_test", "tv_unif", "unif_kappa", "divergence"]

VICTIM_ACCURACY = CountName("victim/accuracy")
DEPLOYED_ACCURACY = CountName(
    "deployed/accuracy"
)  # test rows that the deployed defense serves right; a refused row is not

KEPT = CountName("utility/kept")  # honest rows on which the undefended victim's decision is kept
HONEST_ACCURACY = CountName("utility/accuracy")  # refusals count as wrong
CLEAN_ACCURACY = CountName("utility/clean_accuracy")  # of the undefended victim on the same rows
REFUSED = CountName("utility/refused")
SHIFTED = CountName("utility/changed")  # answered rows whose posteriors changed, whether or not the decision did
ONE_HOT = CountName("utility/one_hot")
MAP_BLANK = CountName("explanation/blank")  # test images whose served map is constant although the victim's own is not
HONEST_HEAVY = CountName("honest/heavy")  # rows that the heavy honest account queries, out of those the rules ask for
HONEST_LIGHT = CountName("honest/light")  # the same for all light accounts together
ARGMAX_BROKEN = CountName("promise/argmax_broken")
L1_BROKEN = CountName("promise/l1_broken")
MAP_MOVED = CountName(
    "explanation/moved"
)  # test images on which another class than the victim's, or none, is explained

CONTROL = CountName(
    "attack/control"
)  # test rows on which a clone made of answers that teach nothing decides as the victim

UNIFORM_LARGEST_SHARE = MeasureName("victim/unif_largest_share")
L1 = MeasureName("utility/l1")
L1_MAX = MeasureName("utility/l1_max")
ECE = MeasureName("utility/ece")
ECE_CLEAN = MeasureName("utility/ece_clean")
BRIER_COST = MeasureName("utility/brier_cost")
LOG_LOSS = MeasureName("utility/log_loss")
LATENCY_P50 = MeasureName("utility/p50_seconds")  # of an honest call in the oracle, without the network
LATENCY_P95 = MeasureName("utility/p95_seconds")
AUDIT_OVERLAP = MeasureName("audit/overlap")
AUDIT_TWO_SAMPLE = MeasureName("audit/two_sample")  # accuracy of a linear classifier; only in results before rules 2
AUDIT_P = MeasureName("audit/p")  # p-value of the hypothesis that outliers and pool have the same distribution
AUDIT_POWER = MeasureName("audit/power")  # the power of that test with the available rows
AUDIT_PART = MeasureName("audit/part")  # the share of the outliers that lie where the pool does
AUDIT_PART_P = MeasureName("audit/part_p")  # p-value as above, for that part of the outliers
AUDIT_COPIES = MeasureName("audit/copies")  # the number of outliers that are near copies of a row of the pool
AVERAGE_DROP = MeasureName("explanation/average_drop")
AVERAGE_DROP_OWN = MeasureName("explanation/average_drop_own")
DROP_DEVIATION = MeasureName("explanation/drop_deviation")  # standard deviation over images
DROP_DEVIATION_OWN = MeasureName("explanation/drop_deviation_own")
DROP_DIFFERENCE = MeasureName(
    "explanation/drop_difference"
)  # mean over images, of the served map minus the victim's own
DROP_LOW = MeasureName("explanation/drop_low")  # 95 % bootstrap interval of the difference
DROP_HIGH = MeasureName("explanation/drop_high")
DROP_P_DIFFERENT = MeasureName("explanation/drop_p_different")  # Wilcoxon's signed-rank test
DROP_P_EQUIVALENT = MeasureName("explanation/drop_p_equivalent")  # two one-sided tests for a difference within 0.05
TOP_OVERLAP = MeasureName("explanation/top_overlap")
RANK_CORRELATION = MeasureName("explanation/rank_correlation")
ATTACK_WALL_SECONDS = MeasureName("attack/wall_seconds")
ATTACK_CPU_SECONDS = MeasureName("attack/cpu_seconds")
ATTACK_STEPS = MeasureName("attack/steps")  # optimiser steps of all its networks, in the training loops of this package
CLONE_STEPS = MeasureName("score/steps")  # optimiser steps of the referee's clone of track A
ATTACK_REFUSED = MeasureName("attack/refused")  # rows of the attack that were refused
UNSPENT = MeasureName("attack/unspent")  # units of the budget
SCORE_WALL_SECONDS = MeasureName("score/wall_seconds")
SCORE_CPU_SECONDS = MeasureName("score/cpu_seconds")

_COUNTS = frozenset({
    VICTIM_ACCURACY, DEPLOYED_ACCURACY, KEPT, HONEST_ACCURACY, CLEAN_ACCURACY, REFUSED, SHIFTED, ONE_HOT, ARGMAX_BROKEN,
    L1_BROKEN, MAP_MOVED, MAP_BLANK, HONEST_HEAVY, HONEST_LIGHT, CONTROL,
})  # fmt: skip
_MEASURES = frozenset({
    UNIFORM_LARGEST_SHARE, L1, L1_MAX, ECE, ECE_CLEAN, BRIER_COST, LOG_LOSS, LATENCY_P50, LATENCY_P95, AUDIT_OVERLAP, AUDIT_TWO_SAMPLE, AUDIT_P,
    AUDIT_POWER, AUDIT_PART, AUDIT_PART_P, AUDIT_COPIES,
    AVERAGE_DROP, AVERAGE_DROP_OWN, DROP_DEVIATION, DROP_DEVIATION_OWN, DROP_DIFFERENCE, DROP_LOW, DROP_HIGH,
    DROP_P_DIFFERENT, DROP_P_EQUIVALENT, TOP_OVERLAP, RANK_CORRELATION, ATTACK_WALL_SECONDS, ATTACK_CPU_SECONDS, ATTACK_STEPS, CLONE_STEPS, UNSPENT, ATTACK_REFUSED,
    SCORE_WALL_SECONDS, SCORE_CPU_SECONDS,
})  # fmt: skip
_TRACK = r"(a|a-hard|b|floor|curve/\d+/a)"
_THREAT = re.compile(r"threat/[^/]+/.+")  # the author of a threat names its scores
_FACT = re.compile(r"(attack|defense)/fact/[a-z0-9_]+")  # the author of a player names its facts
_CLONE_COUNT = re.compile(rf"{_TRACK}/(accuracy|fidelity|fidelity_deployed|fidelity_unif)")
_CLONE_MEASURE = re.compile(rf"{_TRACK}/(tv_test|tv_unif|unif_kappa|divergence)")


class Count(NamedTuple):
    """A number of hits out of a total."""

    hits: int
    total: int

    @property
    def share(self) -> float:
        """Hits divided by total. Raises ZeroDivisionError if the total is 0."""
        return self.hits / self.total


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Counts and measures by name."""

    counts: Mapping[CountName, Count] = field(default_factory=dict)
    measures: Mapping[MeasureName, float] = field(default_factory=dict)


def clone_count(track: str, what: CloneCount) -> CountName:
    """Return the name of a count for the clone of a track, such as ``a-hard/fidelity``."""
    return CountName(f"{track}/{what}")


def clone_measure(track: str, what: CloneMeasure) -> MeasureName:
    """Return the name of a measure for the clone of a track, such as ``b/tv_test``."""
    return MeasureName(f"{track}/{what}")


def curve_track(rows: int) -> str:
    """Return the track of a fresh track A clone that was trained on the first ``rows`` rows."""
    return f"curve/{rows}/a"


def threat_count(threat: str, what: str) -> CountName:
    """Return the name of a count of a threat: ``threat/THREAT/WHAT``."""
    return CountName(f"threat/{threat}/{what}")


def threat_measure(threat: str, what: str) -> MeasureName:
    """Return the name of a measure of a threat: ``threat/THREAT/WHAT``."""
    return MeasureName(f"threat/{threat}/{what}")


def fact_measure(player: Literal["attack", "defense"], what: str) -> MeasureName:
    """Return the name of a fact that a player states about its own play: ``attack/fact/WHAT``."""
    return MeasureName(f"{player}/fact/{what}")


def is_threat(name: CountName | MeasureName) -> bool:
    """Return whether a score belongs to a threat: its name is ``threat/NAME/...``."""
    return name.startswith("threat/")


@functools.cache
def is_count(name: str) -> bool:
    """Return whether a result may have a count of this name."""
    return name in _COUNTS or bool(_CLONE_COUNT.fullmatch(name) or _THREAT.fullmatch(name))


@functools.cache
def is_measure(name: str) -> bool:
    """Return whether a result may have a measure of this name."""
    return name in _MEASURES or any(one.fullmatch(name) for one in (_CLONE_MEASURE, _THREAT, _FACT))
