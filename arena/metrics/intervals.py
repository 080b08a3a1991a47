"""95 % intervals of means over seeds. Seeds are the unit: the images of one test set are the same on all of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy import special

MIN_SEEDS = (
    5  # with fewer, no rank and no p-value: only values, their mean, and an approximate interval from many cells
)
CONFIDENCE = 0.95
Z = 1.96  # two-sided normal quantile of `CONFIDENCE`
ROUNDING = math.sqrt(12)  # a number rounded to a step h is off by h / sqrt(12), as a standard deviation


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over ``n`` seeds and the ends of its 95 % interval; both ends are None where there are too few seeds."""

    mean: float
    n: int
    low: float | None = None
    high: float | None = None
    approximate: bool = False  # the variance is shared with other cells: right on average over them only
    values: tuple[float, ...] = ()  # one a seed, where they are too few for an interval

    @property
    def half(self) -> float | None:
        """Half of the interval's width, None without an interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def t_quantile(degrees: float, confidence: float = CONFIDENCE) -> float:
    """Return the two-sided Student t quantile."""
    return float(special.stdtrit(degrees, 0.5 + confidence / 2))


def mean_interval(values: Sequence[float], *, least_spread: float = 0.0) -> Interval:
    """Return the mean of one value a seed with its Student t interval; ``values`` must not be empty.

    ``least_spread`` is the smallest standard deviation that is believed.
    """
    mean, n = statistics.fmean(values), len(values)
    if n < MIN_SEEDS:
        return Interval(mean=mean, n=n, values=tuple(values))
    half = t_quantile(n - 1) * max(statistics.stdev(values), least_spread) / math.sqrt(n)
    return Interval(mean=mean, n=n, low=mean - half, high=mean + half)


def share_interval(values: Sequence[float], *, images: int) -> Interval:
    """Return the mean of a share of ``images`` images over seeds; its interval is clipped to [0, 1].

    A share moves in steps of 1 / ``images``, so that seeds which agree to the image still leave a spread.
    """
    return within_shares(mean_interval(values, least_spread=resolution(images)))


def resolution(images: int) -> float:
    """Return the standard deviation that the rounding to whole images leaves in a share."""
    return 1 / (images * ROUNDING)


def within_shares(interval: Interval) -> Interval:
    """Return an interval with its ends clipped to [0, 1]."""
    if interval.low is None or interval.high is None:
        return interval
    return replace(interval, low=max(0.0, interval.low), high=min(1.0, interval.high))


def for_new_images(interval: Interval, *, images: int) -> Interval:
    """Return the interval of a share on ``images`` test images, widened so that it holds for other images as well.

    The binomial variance of the images is added to that over seeds: each half becomes
    sqrt(half^2 + 1.96^2 m (1 - m) / images).
    """
    if interval.low is None or interval.high is None:
        return interval
    mean = min(1.0, max(0.0, interval.mean))
    sampling = Z * math.sqrt(mean * (1 - mean) / images)
    below, above = (math.hypot(end - interval.mean, sampling) for end in (interval.low, interval.high))
    return within_shares(replace(interval, low=interval.mean - below, high=interval.mean + above))


def wilson(hits: int, total: int, *, z: float = Z) -> tuple[float, float]:
    """Return the Wilson interval of a proportion: for one frozen model on one test set. ``total`` is at least 1."""
    share = hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return centre - half, centre + half
