"""The accuracy that honest users lose because of a defense. The honest image is the unit, however often it was queried.

On each seed, every queried image has a loss: the share of its queries on which the undefended victim is right and the
answer wrong, minus the share on which it is the other way round. The same images recur on all seeds, so the variance of
the mean loss is clustered by image and by seed (Cameron, Gelbach and Miller, "Robust Inference with Multiway
Clustering", Journal of Business & Economic Statistics 29, 2011). It is converted to an effective number of images, with
which the interval of Bonett and Price is computed ("Adjusted Wald Confidence Interval for a Difference of Binomial
Proportions Based on Paired Data", Journal of Educational and Behavioral Statistics 37, 2012): unlike a normal interval,
it does not collapse if almost nothing changed. Departure: the variance between seeds is scaled by (t / 1.96)^2, because
there are few seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from arena.metrics.honest_outcomes import Outcomes
from arena.metrics.intervals import Z, t_quantile

UNSEEN_LEVEL = 0.05  # one-sided


@dataclass(frozen=True, kw_only=True)
class DecisionCost:
    """The accuracy lost on honest images, as an exact fraction, with its 95 % interval; ``images`` counts distinct images."""

    lost: Fraction
    low: float
    high: float
    images: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _Table:
    """The loss of each pair of seed and image (S, n); 0 where the image was not queried."""

    changes: NDArray[np.float64]
    asked: NDArray[np.bool_]

    @property
    def pairs(self) -> int:
        return int(self.asked.sum())

    @property
    def images(self) -> int:
        return int(self.asked.any(axis=0).sum())


def decision_cost(seeds: Sequence[Outcomes]) -> DecisionCost:
    """Return the cost of a defense from its outcomes per seed, summed over attacks. At least one row was queried."""
    asked = np.array([one.asked for one in seeds])
    net = np.array([one.clean - one.right for one in seeds])
    table = _Table(changes=net / np.maximum(asked, 1), asked=asked > 0)
    lost, gained = (np.maximum(side, 0).sum() / table.pairs for side in (table.changes, -table.changes))
    low, high = bonett_price(float(lost), float(gained), images=_effective_images(table, lost + gained))
    return DecisionCost(lost=_exact_mean(net, asked), low=low, high=high, images=table.images)


def bonett_price(lost: float, gained: float, *, images: float) -> tuple[float, float]:
    """Return the interval for ``lost - gained``, the shares of ``images`` that changed in either direction."""
    up, down = ((share * images + 1) / (images + 2) for share in (lost, gained))
    half = Z * math.sqrt((up + down - (up - down) ** 2) / (images + 2))
    return up - down - half, up - down + half


def unseen_at_most(images: int) -> float:
    """Return the exact one-sided 95 % upper bound on a share that was 0 on ``images`` images."""
    return float(1 - UNSEEN_LEVEL ** (1 / images))


def _exact_mean(net: NDArray[np.int64], asked: NDArray[np.int64]) -> Fraction:
    """Return the mean of net / asked over the pairs that were queried."""
    times = [int(number) for number in np.unique(asked) if number]
    total = sum(Fraction(int(net[asked == number].sum()), number) for number in times)
    return Fraction(total) / int((asked > 0).sum())


def _effective_images(table: _Table, changed: float) -> float:
    """Return how many independent images, queried once each, would give the variance of the table.

    This is at most the number of pairs of seed and image. If there is no variance, it is the number of distinct images.
    """
    mean = table.changes.sum() / table.pairs
    variance = _clustered_variance(table, float(mean))
    if variance == 0:
        return table.images
    return float(min(max((changed - mean**2) / variance, 1.0), table.pairs))


def _clustered_variance(table: _Table, mean: float) -> float:
    """Return the variance of the mean, clustered by image and by seed.

    It is (sum_i e_i^2 + max(0, (t / 1.96)^2 S / (S - 1) sum_s e_s^2 - sum e^2)) / W^2, where e are the deviations of
    the W pairs, e_i their sums per image and e_s their sums per seed. With one seed only the first term is used.
    """
    deviations = np.where(table.asked, table.changes - mean, 0.0)
    total, seeds = table.pairs**2, len(table.asked)
    of_images = (deviations.sum(axis=0) ** 2).sum()
    if seeds == 1:
        return float(of_images / total)
    of_seeds = (deviations.sum(axis=1) ** 2).sum() * seeds / (seeds - 1)
    scale = (t_quantile(seeds - 1) / Z) ** 2
    return float((of_images + max(0.0, scale * of_seeds - (deviations**2).sum())) / total)
