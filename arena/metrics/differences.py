"""Paired differences over seeds: intervals, tests with family-wise control, and the smallest detectable difference."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from arena.metrics.intervals import CONFIDENCE, MIN_SEEDS, Interval, mean_interval, t_quantile

LEVEL = 1 - CONFIDENCE  # the family-wise error rate of all tests


def difference_interval(differences: Sequence[float], *, images: int) -> Interval:
    """Return the mean of paired differences, one per seed, between two shares of ``images`` images, with its interval."""
    return mean_interval(differences, least_spread=discordance(statistics.fmean(differences), images))


def paired_p_value(differences: Sequence[float], *, images: int) -> float:
    """Return the two-sided p-value of a paired t test, or 1 with fewer than `MIN_SEEDS` seeds.

    ``images`` is the number of images behind each value; for a mean over cells, multiply it by the number of cells.
    """
    n, mean = len(differences), statistics.fmean(differences) if differences else 0.0
    if n < MIN_SEEDS or mean == 0:
        return 1.0
    spread = max(statistics.stdev(differences), discordance(mean, images))
    return float(2 * special.stdtr(n - 1, -abs(mean) * math.sqrt(n) / spread))


def unpaired_interval(first: Sequence[float], second: Sequence[float], *, images: int) -> Interval:
    """Return the mean of ``second`` minus that of ``first``, over seeds that are not paired, with Welch's interval."""
    mean = statistics.fmean(second) - statistics.fmean(first)
    if min(len(first), len(second)) < MIN_SEEDS:
        return Interval(mean=mean, n=min(len(first), len(second)))
    found = _welch(first, second, mean, images)
    half = t_quantile(found.degrees) * found.error
    return Interval(mean=mean, n=min(len(first), len(second)), low=mean - half, high=mean + half)


def unpaired_p_value(first: Sequence[float], second: Sequence[float], *, images: int) -> float:
    """Return the two-sided p-value of Welch's t test, or 1 with fewer than `MIN_SEEDS` seeds on either side."""
    mean = statistics.fmean(second) - statistics.fmean(first)
    if min(len(first), len(second)) < MIN_SEEDS or mean == 0:
        return 1.0
    found = _welch(first, second, mean, images)
    return float(2 * special.stdtr(found.degrees, -abs(mean) / found.error))


@dataclass(frozen=True, kw_only=True)
class _Welch:
    """The standard error of a difference of means and its degrees of freedom."""

    error: float
    degrees: float


def _welch(first: Sequence[float], second: Sequence[float], mean: float, images: int) -> _Welch:
    """Return the standard error of a difference of means, which is at least that of its `discordance`.

    Source: Welch, "The generalization of Student's problem when several different population variances are involved",
    Biometrika 34 (1947).
    """
    one, two = (statistics.variance(values) / len(values) for values in (first, second))
    least = discordance(mean, images) ** 2 / min(len(first), len(second))
    degrees = len(first) + len(second) - 2.0
    if one + two > least:
        degrees = (one + two) ** 2 / (one**2 / (len(first) - 1) + two**2 / (len(second) - 1))
    return _Welch(error=math.sqrt(max(one + two, least)), degrees=degrees)


def effect_size(differences: Sequence[float]) -> float | None:
    """Return Cohen's d of paired differences, their mean in standard deviations, or None if they do not vary.

    Source: Cohen, "Statistical Power Analysis for the Behavioral Sciences" (1988), section 2.3.5, where it is d_z.
    """
    if len(differences) < MIN_SEEDS:
        return None
    spread = statistics.stdev(differences)
    return statistics.fmean(differences) / spread if spread > 0 else None


def discordance(mean: float, images: int) -> float:
    """Return the smallest credible standard deviation of a difference with this ``mean`` between two shares of images.

    A difference of D images requires at least D images on which the two disagree, and the variance of that count is D
    (McNemar, "Note on the sampling error of the difference between correlated proportions", 1947). Seeds that happen to
    agree do not make the difference any more certain.
    """
    return math.sqrt(abs(mean) / images)


def holm(p_values: Sequence[float], *, level: float = LEVEL) -> list[bool]:
    """Return which hypotheses of a family Holm's procedure rejects at ``level``."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    rejected = [False] * len(p_values)
    for rank, place in enumerate(order):
        if p_values[place] > level / (len(p_values) - rank):
            break
        rejected[place] = True
    return rejected


def smallest_difference(seeds: int, *, spread: float, players: int = 2) -> float | None:
    """Return the smallest difference that ``seeds`` can detect when all pairs of ``players`` are compared.

    ``spread`` is the standard deviation of a paired difference over seeds, assumed to be the same for all pairs. A true
    difference of the returned size is detected about half of the time. Returns None with too few seeds. The test is the
    one of `arena.metrics.rank_intervals`: the first step of Holm's procedure over all pairs, with the degrees of
    freedom of a variance that is pooled over equally noisy pairs.
    """
    if seeds < MIN_SEEDS:
        return None
    return first_step(seeds, degrees=(seeds - 1) * players / 2, pairs=players * (players - 1) // 2) * spread


def first_step(seeds: int, *, degrees: float, pairs: int) -> float:
    """Return how large a difference must be, in standard deviations, to pass the first step of Holm's procedure."""
    return t_quantile(degrees, 1 - LEVEL / pairs) / math.sqrt(seeds)
