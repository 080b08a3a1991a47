"""Ranks that hold together: who of a group is ahead of whom, as one statement with a family-wise error of 5 %.

All pairs are tested on the very numbers that are sorted, with a variance that the pairs share
(`arena.metrics.shared_variance`) and Holm's correction. A player's rank interval runs from one more than the number of
players it was found behind to the number of players less those it was found ahead of; with 95 % confidence all intervals
of the group hold at once. Source of the construction: Mogstad, Romano, Shaikh and Wilhelm, "Inference for Ranks",
Review of Economic Studies 91 (2024). Departure: a moderated t with Holm in place of their bootstrap, which needs more than
a handful of seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from arena.metrics.differences import first_step, holm
from arena.metrics.intervals import MIN_SEEDS
from arena.metrics.shared_variance import distinct_rows, share_variance


@dataclass(frozen=True, kw_only=True)
class RankInterval:
    """The ranks that a player may have, best is 1."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparisons:
    """Who of K players is above whom, all pairs at once."""

    above: NDArray[np.bool_]  # (K, K): the mean of the row was found to be larger than that of the column
    resolved: float | None  # a difference of this size is found about half of the time; None: all rows are equal

    def ranks(self, *, largest_first: bool) -> tuple[RankInterval, ...]:
        """Return each player's rank interval, the largest mean being the best or the worst."""
        ahead = self.above if largest_first else self.above.T
        players = len(ahead)
        return tuple(
            RankInterval(first=1 + int(behind), last=players - int(before))
            for behind, before in zip(ahead.sum(axis=0), ahead.sum(axis=1), strict=True)
        )


def compare_all(
    values: Sequence[Sequence[float]], *, images: int, candidates: Sequence[int] | None = None
) -> Comparisons | None:
    """Compare K players by the means of their values over the same S seeds, None with fewer than `MIN_SEEDS`.

    ``images`` are those that a value is a share of, times the cells where it is a mean over cells. Where a value is a
    maximum, ``candidates`` says of each player from how many it may well have been chosen: the p-value of a pair is
    multiplied by those of the one with the larger mean, the only one that a lucky choice could have put ahead.
    """
    table = np.asarray(values, dtype=float)
    if table.shape[1] < MIN_SEEDS:
        return None
    rows, places = distinct_rows(table)
    chosen = np.ones(len(rows), dtype=int)
    np.maximum.at(chosen, places, 1 if candidates is None else np.asarray(candidates))
    found = _compare_distinct(rows, images, chosen)
    return Comparisons(above=found.above[np.ix_(places, places)], resolved=found.resolved)


def _compare_distinct(rows: NDArray[np.float64], images: int, candidates: NDArray[np.int_]) -> Comparisons:
    """Compare rows (K, S) of which no two are equal."""
    players, seeds = rows.shape
    above = np.zeros((players, players), dtype=bool)
    if players == 1:
        return Comparisons(above=above, resolved=None)
    one, other = np.triu_indices(players, k=1)
    differences = rows[one] - rows[other]
    means = differences.mean(axis=1)
    spreads = np.maximum(differences.var(axis=1, ddof=1), np.abs(means) / images)  # the floor of `discordance`
    shared = share_variance(spreads, degrees=seeds - 1, independent=players - 1)
    errors = np.sqrt(shared.variances / seeds)
    p_values = 2 * special.stdtr(shared.degrees, -np.abs(means) / errors)
    upper, lower = np.where(means > 0, one, other), np.where(means > 0, other, one)
    told = holm((p_values * candidates[upper]).tolist())
    above[upper[told], lower[told]] = True
    typical = float(np.sqrt(shared.variances.mean()))
    return Comparisons(above=above, resolved=typical * first_step(seeds, degrees=shared.degrees, pairs=len(means)))
