"""How similarly two classifiers answer: agreement, total variation, and checks for degenerate inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from arena.contracts import Count


def labels_of(posteriors: Tensor) -> Tensor:
    """Return the argmax (N,) int64 of rows (N, K); ties go to the lowest index."""
    largest = posteriors == posteriors.amax(dim=1, keepdim=True)
    # On some devices argmax returns any of several maxima; descending weights make the first one the only maximum.
    weights = torch.arange(posteriors.shape[1], 0, -1, device=posteriors.device)
    return (largest * weights).argmax(dim=1)


def agreement(first: Tensor, second: Tensor) -> Count:
    """Count the rows on which two label vectors (N,) are equal."""
    return Count(int((first == second).sum()), len(first))


def confusion_counts(rows: Tensor, columns: Tensor, *, classes: int) -> tuple[int, ...]:
    """Count the pairs of two label vectors (N,): a matrix (classes, classes), row by row."""
    pairs = torch.bincount(rows * classes + columns, minlength=classes * classes)
    return tuple(pairs.tolist())


def total_variation(first: Tensor, second: Tensor) -> Tensor:
    """Return half the L1 distance between rows (N, K), which lies in [0, 1], as (N,) float64."""
    return 0.5 * (first.double() - second.double()).abs().sum(dim=1)


def majority_share(labels: Tensor) -> float:
    """Return the share of the most frequent label of (N,); if it is near 1, agreement on these inputs means nothing."""
    return int(torch.bincount(labels).max()) / len(labels) if len(labels) else 0.0


def cohen_kappa(first: Tensor, second: Tensor, *, classes: int) -> float:
    """Return Cohen's kappa of two label vectors (N,), (p_o - p_e) / (1 - p_e), computed in integers.

    If both are constant and equal, 0/0 counts as 0; `majority_share`, which is 1 then, reveals this case.
    """
    total = len(first)
    agreed, _ = agreement(first, second)
    marginals = zip(
        torch.bincount(first, minlength=classes).tolist(),
        torch.bincount(second, minlength=classes).tolist(),
        strict=True,
    )
    by_chance = sum(n * m for n, m in marginals)
    if total * total == by_chance:
        return 0.0
    kappa: float = (agreed * total - by_chance) / (total * total - by_chance)
    return kappa
