"""How well a map explains an answer: Average Drop, and a paired comparison of two maps of the same images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from scipy.special import stdtr
from torch import Generator, Tensor
from torch.nn.functional import interpolate

KEPT_PERCENT = 50.0
EQUIVALENCE = 0.05  # differences of drops up to this count as none
RESAMPLES = 10_000
CONFIDENCE = 0.95
TOP_SHARE = 0.1  # the share of the pixels whose overlap is measured
_SMALLEST = 1e-12  # posteriors are clipped here, because a posterior of 0 has no relative drop


@dataclass(frozen=True, kw_only=True)
class PairedDrops:
    """The mean difference between the drops of two maps over images, its bootstrap interval, and two tests of it.

    ``equivalent`` is the p-value for the claim that the difference lies within 0.05: a small one is evidence of
    equality, which a merely insignificant difference is not. ``different`` is the p-value of Wilcoxon's test.
    """

    difference: float
    low: float
    high: float
    equivalent: float
    different: float


def drops(
    score: Callable[[Tensor], Tensor],
    inputs: Tensor,
    maps: Tensor,
    classes: Tensor,
    *,
    percent: float = KEPT_PERCENT,
    mask_value: float = 0.0,
    clip: bool = False,
) -> Tensor:
    """Return (y - y') / y for images (N, C, H, W), where y' is the class's posterior y with only the top pixels left.

    ``score`` returns posteriors (N, K). It must be the undefended victim for every map; otherwise models are compared
    instead of maps. ``clip`` counts a gain as 0 (Chattopadhyay, Sarkar, Howlader, Balasubramanian, WACV 2018, arXiv
    1710.11063).
    """
    before = score(inputs).double().gather(1, classes.unsqueeze(1)).squeeze(1)
    masked = torch.where(top_pixels(maps, inputs.shape[-2:], percent=percent).unsqueeze(1), inputs, mask_value)
    after = score(masked).double().gather(1, classes.unsqueeze(1)).squeeze(1)
    found = (before - after) / before.clamp(min=_SMALLEST)
    return found.clamp(min=0) if clip else found


def top_pixels(maps: Tensor, size: torch.Size | tuple[int, int], *, percent: float) -> Tensor:
    """Return a mask (N, H, W) of exactly the ceil(percent H W / 100) largest pixels; ties go to the lowest index.

    Maps (N, h, w) of another size are first resized to ``size`` = (H, W).
    """
    height, width = size
    if tuple(maps.shape[1:]) != (height, width):
        maps = interpolate(maps.unsqueeze(1), size=(height, width), mode="bilinear", align_corners=False).squeeze(1)
    kept = math.ceil(percent * height * width / 100)
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)[:, :kept]
    return torch.zeros(len(maps), height * width, dtype=torch.bool).scatter(1, order, True).reshape(-1, height, width)


def _resampled(differences: Tensor, *, rng: Generator) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of ``differences`` (N,)."""
    rows = len(differences)
    drawn = torch.randint(rows, (RESAMPLES, rows), generator=rng)
    tails = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64)
    low, high = differences[drawn].mean(dim=1).quantile(tails).tolist()
    return low, high


def paired_drops(first: Tensor, second: Tensor, *, rng: Generator) -> PairedDrops:
    """Compare the drops (N,) of two maps of the same N >= 2 images; differences are first minus second."""
    from scipy import stats  # importing it takes a second, and most matches have no explanations

    differences = (first - second).double()
    low, high = _resampled(differences, rng=rng)
    same = bool((differences == differences[0]).all())
    return PairedDrops(
        difference=float(differences.mean()),
        low=low,
        high=high,
        equivalent=_within(differences, EQUIVALENCE),
        different=float(differences[0] == 0) if same else float(stats.wilcoxon(differences.numpy()).pvalue),
    )


class MapAgreement(NamedTuple):
    """The median rank correlation of two sets of maps, and the mean overlap of their top 10 % of pixels."""

    rank_correlation: float
    top_overlap: float


def map_agreement(first: Tensor, second: Tensor) -> MapAgreement:
    """Compare two sets of maps (N, h, w) of the same images."""
    size = (int(first.shape[1]), int(first.shape[2]))
    correlations = torch.stack([_rank_correlation(*pair) for pair in zip(first, second, strict=True)])
    one, other = (top_pixels(maps, size, percent=100 * TOP_SHARE) for maps in (first, second))
    overlap = (one & other).flatten(1).sum(dim=1) / one.flatten(1).sum(dim=1)
    return MapAgreement(float(correlations.nanmedian()), float(overlap.mean()))


def _within(differences: Tensor, margin: float) -> float:
    """Return the p-value of two one-sided t tests for a mean within +- margin."""
    rows = len(differences)
    error = float(differences.std()) / math.sqrt(rows)
    mean = float(differences.mean())
    if error == 0:
        return float(abs(mean) >= margin)
    return float(max(stdtr(rows - 1, -(mean + margin) / error), stdtr(rows - 1, (mean - margin) / error)))


def _rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Spearman's correlation of two maps, or NaN if either is constant."""
    if first.min() == first.max() or second.min() == second.max():
        return torch.tensor(torch.nan)
    from scipy import stats  # see above

    found = stats.spearmanr(first.flatten().numpy(), second.flatten().numpy()).statistic
    return torch.tensor(float(found))
