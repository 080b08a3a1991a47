"""The largest of several means, or the smallest of several such maxima, with intervals that account for the selection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arena.metrics.intervals import CONFIDENCE, MIN_SEEDS, Interval, resolution, t_quantile, within_shares
from arena.metrics.shared_variance import EQUAL_TO, distinct_rows

NEAR = 2.0  # a mean within so many standard errors of the largest may be the true maximum


@dataclass(frozen=True, kw_only=True)
class LargestMean:
    """The row with the largest mean; ``near`` counts the rows that may be the true maximum, this one included."""

    place: int
    interval: Interval
    near: int


@dataclass(frozen=True, kw_only=True)
class SmallestMaximum:
    """The table with the smallest largest mean."""

    place: int
    interval: Interval


def largest_mean(rows: Sequence[Sequence[float]], *, images: int) -> LargestMean:
    """Return the largest mean of rows (A, S) that hold shares of ``images`` images; the first one in case of ties.

    The interval is [max_i (m_i - t_low se_i), max_i (m_i + t_high se_i)], where t_high is the 97.5 % quantile and t_low
    the 1 - 2.5 % / A quantile. It covers the true maximum in at least 95 %: the upper end is at least the upper end of
    the row that is truly the largest, and by Bonferroni the probability that any of the A lower ends exceeds its row's
    true mean is at most 2.5 %. Rows that are equal on every seed count once.
    """
    values = np.asarray(rows, dtype=float)
    means = values.mean(axis=1)
    place = int(means.round(EQUAL_TO).argmax())
    mean, seeds = float(means[place]), values.shape[1]
    if seeds < MIN_SEEDS:
        return LargestMean(place=place, interval=Interval(mean=mean, n=seeds, values=tuple(values[place])), near=1)
    distinct = distinct_rows(values)[0]
    ends = _ends(distinct, images, lower=len(distinct), upper=1)
    interval = within_shares(Interval(mean=mean, n=seeds, low=float(ends[0].max()), high=float(ends[1].max())))
    return LargestMean(place=place, interval=interval, near=_near(distinct))


def smallest_maximum(tables: Sequence[Sequence[Sequence[float]]], *, images: int) -> SmallestMaximum:
    """Return the smallest largest mean of tables (A, S) over the same seeds; the first one in case of ties.

    This mirrors `largest_mean`. With P tables the interval is [min_j L_j, min_j U_j]: L_j is the lower end for table j
    as in `largest_mean`, and U_j is its upper end at the 1 - 2.5 % / P quantile, since here the upper ends are selected
    from.
    """
    values = [np.asarray(table, dtype=float) for table in tables]
    maxima = np.array([table.mean(axis=1).max() for table in values])
    place = int(maxima.round(EQUAL_TO).argmin())
    mean, seeds = float(maxima[place]), values[place].shape[1]
    if seeds < MIN_SEEDS:
        return SmallestMaximum(place=place, interval=Interval(mean=mean, n=seeds))
    distinct = [distinct_rows(table)[0] for table in values]
    ends = [_ends(table, images, lower=len(table), upper=len(values)) for table in distinct]
    low, high = (min(float(end[side].max()) for end in ends) for side in (0, 1))
    return SmallestMaximum(place=place, interval=within_shares(Interval(mean=mean, n=seeds, low=low, high=high)))


def _ends(
    rows: NDArray[np.float64], images: int, *, lower: int, upper: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return one-sided 97.5 % bounds for the means of rows (A, S), each side with Bonferroni's correction for its choices."""
    seeds = rows.shape[1]
    errors = np.maximum(rows.std(axis=1, ddof=1), resolution(images)) / np.sqrt(seeds)
    below, above = (t_quantile(seeds - 1, 1 - (1 - CONFIDENCE) / choices) for choices in (lower, upper))
    return rows.mean(axis=1) - below * errors, rows.mean(axis=1) + above * errors


def _near(rows: NDArray[np.float64]) -> int:
    """Return how many rows are within `NEAR` standard errors of the paired difference from the row with the largest mean."""
    differences = rows[rows.mean(axis=1).argmax()] - rows
    gaps = differences.mean(axis=1)
    return int((gaps <= NEAR * differences.std(axis=1, ddof=1) / np.sqrt(rows.shape[1])).sum())
