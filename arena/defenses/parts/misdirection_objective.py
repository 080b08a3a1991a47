"""What `DeepDefense` minimises for a query: how parallel two gradients are, and hinges that keep orders.

A gradient is stored by weight name. That of a linear layer's matrix is the outer product delta h^T of the gradient with
respect to the layer's outputs and the row that the layer receives; it is stored as these two vectors, under the name of
the matrix followed by ``DELTA`` and ``ROW``, and never multiplied out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from arena.defenses.parts.layer_weights import Weights
from arena.learning.release import MARGIN

DELTA, ROW = ".delta", ".row"

SMOOTH = 1e-3
"""|cos| is computed as sqrt(cos^2 + this^2): near 0, rounding would otherwise decide the direction of the next step."""

_TINY = 1e-24  # added under the root of a squared norm, because the gradient of the root is not finite at zero


def log_odds(logits: Tensor, label: Tensor) -> Tensor:
    """Return log(p_y / (1 - p_y)) for logits (..., K) and labels y (...): z_y - logsumexp over the other classes."""
    chosen = torch.arange(logits.shape[-1], device=logits.device) == label.unsqueeze(-1)
    return torch.where(chosen, logits, 0.0).sum(dim=-1) - torch.where(chosen, -torch.inf, logits).logsumexp(dim=-1)


def cosine(first: Weights, second: Weights) -> Tensor:
    """Return the cosines (N,) between two gradients; 0 where either is zero."""
    lengths = [(inner(one, one) + _TINY).sqrt() for one in (first, second)]
    return inner(first, second) / (lengths[0] * lengths[1])


def inner(first: Weights, second: Weights) -> Tensor:
    """Return the inner products (N,) of two gradients.

    The inner product of two outer products is that of their deltas times that of their rows.
    """
    found = {name: (value.flatten(1) * second[name].flatten(1)).sum(dim=1) for name, value in first.items()}
    matrices = [name.removesuffix(ROW) for name in first if name.endswith(ROW)]
    outer = [found.pop(name + DELTA) * found.pop(name + ROW) for name in matrices]
    return torch.stack([*found.values(), *outer]).sum(dim=0)


def order_hinge(scores: Tensor, order: Tensor, k: int, *, margin: float) -> Tensor:
    """Return how far scores (..., K) are from ranking the first ``k`` classes of ``order`` (..., K) first, in order.

    Source: L_pred of the paper: the sum over i < k of (f_(i+1) - f_i + m)+, and for k < K (max of the rest - f_k + m)+.
    """
    ranked = scores.gather(-1, order)
    within = (ranked[..., 1:k] - ranked[..., : k - 1] + margin).clamp(min=0).sum(dim=-1)
    if k == scores.shape[-1]:
        return within
    return within + (ranked[..., k:].amax(dim=-1) - ranked[..., k - 1] + margin).clamp(min=0)


def map_hinge(found: Tensor, wanted: Tensor, *, literal: bool, signed: bool = False) -> Tensor:
    """Return how far an attribution map (..., P) is from the order of the victim's map, ``wanted`` (..., P).

    This is L_int of the paper: the sum of the rises in ``found`` along the falling order of ``wanted``. ``literal``
    sums over all positions, as printed. Otherwise the sum covers the positions where ``wanted`` is positive, because
    the zeros of a ReLU have no order; it also counts by how much the largest of the other positions exceeds the
    smallest of these, and is divided by the maximum of ``wanted``. A ``signed`` map has an order everywhere, so the sum
    covers all positions, and is divided by the largest absolute value.
    """
    places = wanted.argsort(dim=-1, descending=True, stable=True)
    ranked = found.gather(-1, places)
    rises = (ranked[..., 1:] - ranked[..., :-1]).clamp(min=0)
    if literal:
        return rises.sum(dim=-1)
    if signed:
        return rises.sum(dim=-1) / wanted.abs().amax(dim=-1).clamp(min=_TINY)
    positive = wanted.gather(-1, places) > 0
    lowest = torch.where(positive, ranked, torch.inf).amin(dim=-1)
    excess = (torch.where(positive, 0.0, ranked).amax(dim=-1) - lowest).clamp(min=0)
    return ((rises * positive[..., 1:]).sum(dim=-1) + excess) / wanted.amax(dim=-1).clamp(min=_TINY)


def keeps_order(posteriors: Tensor, order: Tensor, k: int) -> Tensor:
    """Return which rows (N, K) float32 rank the first ``k`` classes of ``order`` (N, K) first and in order, (N,) bool.

    The order must be strict, and the first class must lead by the margin that keeps the argmax.
    """
    ranked = posteriors.gather(1, order)
    leads = ranked[:, 0] - ranked[:, 1:].amax(dim=1) >= MARGIN
    falls = (ranked[:, 1:k] < ranked[:, : k - 1]).all(dim=1)
    if k == posteriors.shape[1]:
        return leads & falls
    return leads & falls & (ranked[:, k:].amax(dim=1) < ranked[:, k - 1])
