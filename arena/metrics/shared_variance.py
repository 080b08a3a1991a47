"""Variance estimates from few seeds, improved by pooling them over players or cells.

Source: Smyth, "Linear models and empirical Bayes methods for assessing differential expression in microarray
experiments", Statistical Applications in Genetics and Molecular Biology 3 (2004), section 6.2 (the moderated t).
Departures: the prior gets half of its estimated weight, because the full weight rejected slightly too often for pairs
with unequal variances, and its degrees of freedom are capped at what the independent rows can contribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from arena.metrics.intervals import MIN_SEEDS, Interval, resolution, share_interval, t_quantile, within_shares

FEWEST_VARIANCES = 3  # needed to estimate a prior
PRIOR_WEIGHT = 0.5
FEWEST_CELLS = 6  # distinct cells needed to pool variances over three or four seeds
FEWEST_SHARED_SEEDS = 3
EQUAL_TO = 12  # decimals at which rows count as equal
TRIGAMMA_STEP = 1e-8


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedVariances:
    """Moderated variances (N,) and the degrees of freedom of each."""

    variances: NDArray[np.float64]
    degrees: float


def share_variance(variances: NDArray[np.float64], *, degrees: int, independent: float) -> SharedVariances:
    """Shrink variances (N,) > 0 with ``degrees`` degrees of freedom each towards a common prior.

    ``independent`` is the number of independent variances: K - 1 for the differences between K rows. The prior's
    degrees of freedom f0 and variance s0^2 are estimated from the mean and the variance of log s^2: the latter exceeds
    its value under equal true variances by trigamma(f0 / 2).
    """
    if len(variances) < FEWEST_VARIANCES:
        return SharedVariances(variances=variances, degrees=float(degrees))
    half = degrees / 2
    logs = np.log(variances) - special.digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - special.polygamma(1, half))
    if excess > 0:
        prior_half = trigamma_inverse(excess)
        common = float(np.exp(logs.mean() + special.digamma(prior_half) - np.log(prior_half)))
    else:
        prior_half, common = np.inf, float(variances.mean())
    prior = PRIOR_WEIGHT * min(2 * prior_half, (independent - 1) * degrees)
    moderated = (prior * common + degrees * variances) / (prior + degrees)
    return SharedVariances(variances=moderated, degrees=prior + degrees)


def trigamma_inverse(value: float) -> float:
    """Return y > 0 with trigamma(y) = ``value`` > 0, by Newton's method on 1 / trigamma, which is almost linear."""
    y = 0.5 + 1 / value
    while True:
        found = float(special.polygamma(1, y))
        step = found * (1 - found / value) / float(special.polygamma(2, y))
        y += step
        if abs(step) < TRIGAMMA_STEP * y:
            return y


def distinct_rows(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the distinct rows of (K, S), and for each of the K rows its place among them."""
    rows, places = np.unique(values.round(EQUAL_TO), axis=0, return_inverse=True)
    return rows, places.reshape(-1)


def share_intervals(cells: Sequence[Sequence[float]], *, images: int) -> list[Interval]:
    """Return an interval for each cell, given its shares of ``images`` images, one per seed; no cell is empty.

    From `MIN_SEEDS` seeds on, each cell is estimated from its own values. With three or four seeds, an interval is
    given only if at least `FEWEST_CELLS` distinct cells have that many: it uses a variance pooled over those cells, so
    that 95 % of the cells are covered on average, but not necessarily each cell in 95 % of tournaments.
    """
    intervals = [share_interval(cell, images=images) for cell in cells]
    for seeds in range(FEWEST_SHARED_SEEDS, MIN_SEEDS):
        places = [place for place, cell in enumerate(cells) if len(cell) == seeds]
        if places:
            halves = _shared_halves(np.array([cells[place] for place in places]), images)
            for place, half in zip(places, halves, strict=True):
                intervals[place] = _approximate(intervals[place], half)
    return intervals


def _shared_halves(values: NDArray[np.float64], images: int) -> list[float | None]:
    """Return the half-width for each of the cells (K, S), or None if too few of them are distinct."""
    rows, places = distinct_rows(values)
    if len(rows) < FEWEST_CELLS:
        return [None] * len(values)
    seeds = values.shape[1]
    spreads = np.maximum(rows.var(axis=1, ddof=1), resolution(images) ** 2)
    shared = share_variance(spreads, degrees=seeds - 1, independent=independent_rows(rows))
    halves = t_quantile(shared.degrees) * np.sqrt(shared.variances / seeds)
    return [float(half) for half in halves[places]]


def independent_rows(values: NDArray[np.float64]) -> float:
    """Return the effective number of independent rows of (K, S), from 1 to K, for estimating a row's variance.

    An effect that all rows of a seed share is observed only once per seed, however many rows there are. With M the mean
    square of seeds (S - 1 degrees of freedom) and E the residual mean square ((K - 1)(S - 1) degrees), the mean
    variance of a row is (M + (K - 1) E) / K. Satterthwaite's degrees of freedom of that sum, in units of S - 1, are (M
    + (K - 1) E)^2 / (M^2 + (K - 1) E^2).
    """
    rows, seeds = values.shape
    common = values.mean(axis=0)
    of_seeds = rows * common.var(ddof=1)
    rest = ((values - values.mean(axis=1, keepdims=True) - common + common.mean()) ** 2).sum()
    left = rest / ((rows - 1) * (seeds - 1))
    whole = of_seeds + (rows - 1) * left
    return float(whole**2 / (of_seeds**2 + (rows - 1) * left**2)) if whole > 0 else 1.0


def _approximate(interval: Interval, half: float | None) -> Interval:
    if half is None:
        return interval
    return within_shares(replace(interval, low=interval.mean - half, high=interval.mean + half, approximate=True))
