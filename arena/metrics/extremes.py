"""The largest of several means, or the smallest of such maxima, with an interval that allows for the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arena.metrics.intervals import CONFIDENCE, MIN_SEEDS, Interval, resolution, t_quantile, within_shares
from arena.metrics.shared_variance import EQUAL_TO, distinct_rows

NEAR = 2.0  # standard errors within which a mean may well be the largest


@dataclass(frozen=True, kw_only=True)
class LargestMean:
    """The row whose mean is the largest, and from how many rows it may well have been chosen, itself included."""

    place: int
    interval: Interval
    near: int


@dataclass(frozen=True, kw_only=True)
class SmallestMaximum:
    """The table whose largest mean is the smallest."""

    place: int
    interval: Interval


def largest_mean(rows: Sequence[Sequence[float]], *, images: int) -> LargestMean:
    """Return the largest of the means of rows (A, S) of shares of ``images`` images; of equal ones the first.

    The interval is [max_i (m_i - t_low se_i), max_i (m_i + t_high se_i)], t_high the 97.5 % quantile, t_low that of 1 -
    2.5 % / A. It covers the true maximum: its upper end is no lower than that of the truly largest row, and of the A
    lower ends, corrected by Bonferroni, the largest is above its row's true mean in 2.5 % at the most. A row that equals
    another on every seed counts once.
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
    """Return the smallest of the largest means of tables, each (A, S) over the same seeds; of equal ones the first.

    The mirror of `largest_mean`: with P tables the interval is [min_j L_j, min_j U_j], where L_j is the lower end of
    table j as there, and U_j the upper one at 1 - 2.5 % / P: only the upper ends are chosen among here.
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
    """Return the one-sided 97.5 % bounds of the means of rows (A, S), corrected for so many choices of either end."""
    seeds = rows.shape[1]
    errors = np.maximum(rows.std(axis=1, ddof=1), resolution(images)) / np.sqrt(seeds)
    below, above = (t_quantile(seeds - 1, 1 - (1 - CONFIDENCE) / choices) for choices in (lower, upper))
    return rows.mean(axis=1) - below * errors, rows.mean(axis=1) + above * errors


def _near(rows: NDArray[np.float64]) -> int:
    """Return of how many rows the mean is within `NEAR` standard errors of the paired difference from the best one."""
    differences = rows[rows.mean(axis=1).argmax()] - rows
    gaps = differences.mean(axis=1)
    return int((gaps <= NEAR * differences.std(axis=1, ddof=1) / np.sqrt(rows.shape[1])).sum())
