"""Perturb the posteriors by a reversed sigmoid, so that clean rows cannot be inferred uniquely.

Source: Lee, Edwards, Molloy, Su, "Defending Against Neural Network Model Stealing Attacks Using Deceptive
Perturbations", IEEE S&P Workshops 2019, arXiv 1806.00054.
Departures: Negative numbers are set to 0 before normalising, and posteriors are clipped to [1e-6, 1 - 1e-6]. The argmax
is not promised, because a large beta changes it. At equal beta, the L1 distance grows with K, so sweep beta for each K.
Published number: none that a later table repeats. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor

from arena.contracts import BadParameter, DefenseContext, Responder, State
from arena.learning.composition import ComposableDefense, transformed

CLIP = 1e-6


@dataclass(frozen=True, kw_only=True)
class ReverseSigmoid(ComposableDefense):
    """``beta`` is the size of the perturbation, ``gamma`` the steepness of the sigmoid in a posterior's logit."""

    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("beta", (0.0, 0.04, 0.16, 0.32, 0.64, 1.28))

    beta: float = 1.0
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta < 0 or self.gamma < 0:
            message = f"beta = {self.beta} and gamma = {self.gamma} must be at least 0"
            raise BadParameter(message)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        return transformed(
            self.below(context, state, rng=rng), lambda rows, _: perturbed(rows, beta=self.beta, gamma=self.gamma)
        )


def perturbed(posteriors: Tensor, *, beta: float, gamma: float) -> Tensor:
    """Return normalise(max(0, y - beta (sigmoid(gamma logit y) - 1/2))), (N, K) float64."""
    y = posteriors.double().clamp(CLIP, 1 - CLIP)
    rows = (y - beta * ((gamma * y.logit()).sigmoid() - 0.5)).clamp(min=0)
    return rows / rows.sum(dim=1, keepdim=True)
