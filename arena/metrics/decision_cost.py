"""What honest users lose by a defense, with the honest image as the unit: seen on more seeds it is still one image.

On each seed an image that was asked lost (the undefended victim is right, the answer wrong), gained, or kept what it had,
in shares of the times that it was asked. Images and seeds both repeat, so that the variance of the mean is clustered two
ways: Cameron, Gelbach and Miller, "Robust Inference with Multiway Clustering", Journal of Business & Economic Statistics 29
(2011). It enters the interval of Bonett and Price ("Adjusted Wald Confidence Interval for a Difference of Binomial
Proportions Based on Paired Data", Journal of Educational and Behavioral Statistics 37, 2012), which keeps its width where
next to nothing changed, as the number of images that would have that variance if each were asked once. Departure: the
seeds' part of the variance is scaled by the square of t / 1.96, since there are few of them.
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
    """Accuracy lost on honest images, exactly, with its 95 % interval; ``images`` are different ones."""

    lost: Fraction
    low: float
    high: float
    images: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _Table:
    """Shares lost less gained of the pairs of seed and image that were asked, (S, n), and 0 elsewhere."""

    changes: NDArray[np.float64]
    asked: NDArray[np.bool_]

    @property
    def pairs(self) -> int:
        return int(self.asked.sum())

    @property
    def images(self) -> int:
        return int(self.asked.any(axis=0).sum())


def decision_cost(seeds: Sequence[Outcomes]) -> DecisionCost:
    """Return the cost of a defense from its outcomes on each seed, summed over attacks; some row was asked."""
    asked = np.array([one.asked for one in seeds])
    net = np.array([one.clean - one.right for one in seeds])
    table = _Table(changes=net / np.maximum(asked, 1), asked=asked > 0)
    lost, gained = (np.maximum(side, 0).sum() / table.pairs for side in (table.changes, -table.changes))
    low, high = bonett_price(float(lost), float(gained), images=_effective_images(table, lost + gained))
    return DecisionCost(lost=_exact_mean(net, asked), low=low, high=high, images=table.images)


def bonett_price(lost: float, gained: float, *, images: float) -> tuple[float, float]:
    """Return the ends of the interval of ``lost - gained``, shares of ``images`` that changed one way or the other."""
    up, down = ((share * images + 1) / (images + 2) for share in (lost, gained))
    half = Z * math.sqrt((up + down - (up - down) ** 2) / (images + 2))
    return up - down - half, up - down + half


def unseen_at_most(images: int) -> float:
    """Return the largest share that may change if none of so many images did: exact, one-sided 95 %."""
    return float(1 - UNSEEN_LEVEL ** (1 / images))


def _exact_mean(net: NDArray[np.int64], asked: NDArray[np.int64]) -> Fraction:
    """Return the mean of net / asked over the places that were asked."""
    times = [int(number) for number in np.unique(asked) if number]
    total = sum(Fraction(int(net[asked == number].sum()), number) for number in times)
    return Fraction(total) / int((asked > 0).sum())


def _effective_images(table: _Table, changed: float) -> float:
    """Return how many images, each asked once, would leave the variance that the table has.

    With no variance at all these are the different images; never more than there are pairs of seed and image.
    """
    mean = table.changes.sum() / table.pairs
    variance = _clustered_variance(table, float(mean))
    if variance == 0:
        return table.images
    return float(min(max((changed - mean**2) / variance, 1.0), table.pairs))


def _clustered_variance(table: _Table, mean: float) -> float:
    """Return the variance of the mean: that of images, and what seeds add to the part that they have in common.

    sum_i e_i^2 / W^2 + max(0, (t / 1.96)^2 sum_s e_s^2 / W^2 - sum e^2 / W^2), with e the deviations of the W pairs, e_i
    their sums over the seeds of an image, e_s those over the images of a seed, and S / (S - 1) for the mean of few seeds.
    One seed has no part of its own.
    """
    deviations = np.where(table.asked, table.changes - mean, 0.0)
    total, seeds = table.pairs**2, len(table.asked)
    of_images = (deviations.sum(axis=0) ** 2).sum()
    if seeds == 1:
        return float(of_images / total)
    of_seeds = (deviations.sum(axis=1) ** 2).sum() * seeds / (seeds - 1)
    scale = (t_quantile(seeds - 1) / Z) ** 2
    return float((of_images + max(0.0, scale * of_seeds - (deviations**2).sum())) / total)
