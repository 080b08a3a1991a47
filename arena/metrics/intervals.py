"""Intervals, and what a number of seeds can resolve. Seeds are the unit: images of one test set are not."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

MIN_SEEDS = 5  # with fewer, values are printed and no interval is claimed
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over ``n`` seeds; ``half`` is None where there are too few for an interval."""

    mean: float
    half: float | None
    n: int

    @property
    def excludes_zero(self) -> bool:
        return self.half is not None and abs(self.mean) > self.half


def mean_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Return mean and Student t half-width of values over seeds; ``values`` must not be empty."""
    n = len(values)
    half = None
    if n >= MIN_SEEDS:
        half = t_quantile(n - 1, confidence) * statistics.stdev(values) / math.sqrt(n)
    return Interval(mean=statistics.fmean(values), half=half, n=n)


def t_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Return the two-sided Student t quantile."""
    return float(special.stdtrit(degrees, 0.5 + confidence / 2))


def wilson(hits: int, total: int, *, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson interval of a proportion: for one frozen model on one test set. ``total`` is at least 1."""
    share = hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return centre - half, centre + half


def smallest_difference(seeds: int, *, spread: float) -> float | None:
    """Return the smallest mean difference whose interval over paired ``seeds`` excludes zero, None with too few.

    ``spread`` is one standard deviation of the differences; a true difference of this size is seen half of the time.
    """
    return t_quantile(seeds - 1) * spread / math.sqrt(seeds) if seeds >= MIN_SEEDS else None


def holm(p_values: Sequence[float], *, level: float = 1 - CONFIDENCE) -> list[bool]:
    """Return which of a family of hypotheses Holm's procedure rejects at ``level``."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    rejected = [False] * len(p_values)
    for rank, place in enumerate(order):
        if p_values[place] > level / (len(p_values) - rank):
            break
        rejected[place] = True
    return rejected


def paired_p_value(differences: Sequence[float]) -> float:
    """Return the two-sided p of a paired t test; 1, nothing is claimed, with fewer than `MIN_SEEDS`."""
    n = len(differences)
    if n < MIN_SEEDS:
        return 1.0
    spread = statistics.stdev(differences)
    mean = statistics.fmean(differences)
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * special.stdtr(n - 1, -abs(mean) / (spread / math.sqrt(n))))
