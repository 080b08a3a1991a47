"""Paired differences over seeds, tested one by one or as a family, and the smallest that a number of seeds resolves."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import special

from arena.metrics.intervals import CONFIDENCE, MIN_SEEDS, Interval, mean_interval, t_quantile

LEVEL = 1 - CONFIDENCE  # family-wise, of all tests


def difference_interval(differences: Sequence[float], *, images: int) -> Interval:
    """Return the mean of paired differences between two shares of ``images`` images, one a seed, with its interval."""
    return mean_interval(differences, least_spread=discordance(statistics.fmean(differences), images))


def paired_p_value(differences: Sequence[float], *, images: int) -> float:
    """Return the two-sided p of a paired t test; 1, nothing is claimed, with fewer than `MIN_SEEDS`.

    ``images`` are those that a share is taken of, times the cells where it is a mean over cells.
    """
    n, mean = len(differences), statistics.fmean(differences) if differences else 0.0
    if n < MIN_SEEDS or mean == 0:
        return 1.0
    spread = max(statistics.stdev(differences), discordance(mean, images))
    return float(2 * special.stdtr(n - 1, -abs(mean) * math.sqrt(n) / spread))


def discordance(mean: float, images: int) -> float:
    """Return the least standard deviation of a difference of ``mean`` between two shares of ``images`` images.

    A difference of D images needs at least D images on which the two disagree: a count whose variance is D (McNemar,
    "Note on the sampling error of the difference between correlated proportions", 1947). Seeds that happen to agree
    cannot make a difference more certain than that.
    """
    return math.sqrt(abs(mean) / images)


def holm(p_values: Sequence[float], *, level: float = LEVEL) -> list[bool]:
    """Return which of a family of hypotheses Holm's procedure rejects at ``level``."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    rejected = [False] * len(p_values)
    for rank, place in enumerate(order):
        if p_values[place] > level / (len(p_values) - rank):
            break
        rejected[place] = True
    return rejected


def smallest_difference(seeds: int, *, spread: float, players: int = 2) -> float | None:
    """Return the smallest mean difference that ``seeds`` resolve between two of ``players`` that are all compared.

    ``spread`` is the standard deviation over seeds of a paired difference, taken to be the same for all pairs; a true
    difference of the returned size is seen about half of the time. None with too few seeds. The test is that of
    `arena.metrics.rank_intervals`: the first step of Holm's procedure over all pairs, with the degrees of freedom of a
    variance that equal pairs share.
    """
    if seeds < MIN_SEEDS:
        return None
    return first_step(seeds, degrees=(seeds - 1) * players / 2, pairs=players * (players - 1) // 2) * spread


def first_step(seeds: int, *, degrees: float, pairs: int) -> float:
    """Return how many standard deviations of a difference Holm's first step over ``pairs`` asks for."""
    return t_quantile(degrees, 1 - LEVEL / pairs) / math.sqrt(seeds)
