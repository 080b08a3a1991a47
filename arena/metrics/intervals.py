"""95 % intervals for means over seeds. The seed is the unit, because every seed is scored on the same test images."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy import special

MIN_SEEDS = 5  # with fewer seeds there are no ranks and no p-values, only values, means and approximate intervals
CONFIDENCE = 0.95
Z = 1.96  # the two-sided normal quantile for `CONFIDENCE`
ROUNDING = math.sqrt(12)  # rounding to a step h adds an error with standard deviation h / sqrt(12)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over ``n`` seeds with the ends of its 95 % interval. Both ends are None if there are too few seeds."""

    mean: float
    n: int
    low: float | None = None
    high: float | None = None
    approximate: bool = False  # the variance is pooled with other cells, so coverage holds only on average over them
    values: tuple[float, ...] = ()  # one per seed, if there are too few for an interval

    @property
    def half(self) -> float | None:
        """Half the width of the interval, or None if there is no interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def t_quantile(degrees: float, confidence: float = CONFIDENCE) -> float:
    """Return the two-sided quantile of Student's t."""
    return float(special.stdtrit(degrees, 0.5 + confidence / 2))


def mean_interval(values: Sequence[float], *, least_spread: float = 0.0) -> Interval:
    """Return the mean of ``values``, one per seed and at least one, with its Student t interval.

    ``least_spread`` is a lower bound on the standard deviation over seeds.
    """
    mean, n = statistics.fmean(values), len(values)
    if n < MIN_SEEDS:
        return Interval(mean=mean, n=n, values=tuple(values))
    half = t_quantile(n - 1) * max(statistics.stdev(values), least_spread) / math.sqrt(n)
    return Interval(mean=mean, n=n, low=mean - half, high=mean + half)


def share_interval(values: Sequence[float], *, images: int) -> Interval:
    """Return the mean over seeds of a share of ``images`` images, with its interval clipped to [0, 1].

    A share has a resolution of 1 / ``images``, so the spread is not zero even if all seeds agree exactly.
    """
    return within_shares(mean_interval(values, least_spread=resolution(images)))


def resolution(images: int) -> float:
    """Return the standard deviation of a share that is due to counting whole images."""
    return 1 / (images * ROUNDING)


def within_shares(interval: Interval) -> Interval:
    """Return the interval with its ends clipped to [0, 1]."""
    if interval.low is None or interval.high is None:
        return interval
    return replace(interval, low=max(0.0, interval.low), high=min(1.0, interval.high))


def for_new_images(interval: Interval, *, images: int) -> Interval:
    """Return the interval of a share of ``images`` test images, widened to hold for images that were not tested.

    The binomial variance of sampling the images is added to the variance over seeds: the half-width on each side
    becomes sqrt(half^2 + 1.96^2 m (1 - m) / images).
    """
    if interval.low is None or interval.high is None:
        return interval
    mean = min(1.0, max(0.0, interval.mean))
    sampling = Z * math.sqrt(mean * (1 - mean) / images)
    below, above = (math.hypot(end - interval.mean, sampling) for end in (interval.low, interval.high))
    return within_shares(replace(interval, low=interval.mean - below, high=interval.mean + above))


def wilson(hits: int, total: int, *, z: float = Z) -> tuple[float, float]:
    """Return the Wilson interval of a proportion, for one fixed model on one test set; ``total`` is at least 1."""
    share = hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return centre - half, centre + half
