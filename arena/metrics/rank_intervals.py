"""Simultaneous rank intervals for a group of players, with a family-wise error rate of 5 %.

All pairs are tested on the same numbers that the group is sorted by, with pooled variances
(`arena.metrics.shared_variance`) and Holm's correction. A player's rank interval runs from one plus the number of
players that are significantly ahead of it to the number of players minus those that are significantly behind. With 95 %
confidence, all intervals of the group are correct at the same time.

Source of the construction: Mogstad, Romano, Shaikh and Wilhelm, "Inference for Ranks", Review of Economic Studies 91
(2024). Departure: a moderated t test with Holm's correction instead of their bootstrap, which needs more than a handful
of seeds.
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
    """The ranks that a player may have; 1 is the best."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparisons:
    """The result of comparing all pairs of K players."""

    above: NDArray[np.bool_]  # (K, K): the row's mean is significantly larger than the column's
    resolved: float | None  # a difference of this size is detected about half of the time; None: all rows are equal

    def ranks(self, *, largest_first: bool) -> tuple[RankInterval, ...]:
        """Return the rank interval of each player. ``largest_first`` says whether the largest mean is the best."""
        ahead = self.above if largest_first else self.above.T
        players = len(ahead)
        return tuple(
            RankInterval(first=1 + int(behind), last=players - int(before))
            for behind, before in zip(ahead.sum(axis=0), ahead.sum(axis=1), strict=True)
        )


def compare_all(
    values: Sequence[Sequence[float]], *, images: int, candidates: Sequence[int] | None = None
) -> Comparisons | None:
    """Compare K players by the means of their values over the same S seeds. Returns None with fewer than `MIN_SEEDS` seeds.

    ``images`` is the number of images behind each value; for a mean over cells, multiply it by the number of cells. If
    a value is a maximum, ``candidates`` is, for each player, the number of plausible maximisers: the p-value of a pair
    is multiplied by the candidates of the player with the larger mean, since selection can only have inflated that
    mean.
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
    """Compare distinct rows (K, S)."""
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
