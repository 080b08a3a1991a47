"""Blur each answer at random: Gaussian noise on the logits, or a step towards a random class.

Source: the random baselines of Orekondy, Schiele, Fritz, "Prediction Poisoning", ICLR 2020, arXiv 1906.10908, and of
Mazeika, Li, Forsyth, "How to Steer Your Adversary", ICML 2022, arXiv 2206.14157 (the step of weight epsilon / 2).
Departures: noise on logits is noise on log posteriors, which differ from them by a constant a row. ``fresh`` noise
changes when a row is asked again, so that averaging works; otherwise it depends on a secret key and the row.
Published number: none of its own. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from arena.contracts import BadParameter, DefenseContext, Promise, QueryBatch, Responder, State
from arena.learning.composition import ComposableDefense, transformed
from arena.learning.randomness import keyed_normal
from arena.learning.release import MARGIN, keep_argmax

LOG_FLOOR = 1e-12


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(ComposableDefense):
    """``sigma`` is for kind logit; ``epsilon``, the largest L1 distance to the clean row, for kind vertex."""

    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("sigma", (0.0, 0.5, 1.0, 2.0, 4.0))

    kind: Literal["logit", "vertex"] = "logit"
    sigma: float = 1.0
    epsilon: float = 0.5
    fresh: bool = False
    preserve_argmax: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma < 0 or not 0 <= self.epsilon <= 2:
            message = f"sigma = {self.sigma}, epsilon = {self.epsilon}: sigma is 0 or more, epsilon 0 to 2"
            raise BadParameter(message)

    @property
    def own_promise(self) -> Promise:
        return Promise(
            argmax=self.preserve_argmax,
            l1=self.epsilon if self.kind == "vertex" else None,
            noise="fresh" if self.fresh else "keyed",
        )

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        key = int(torch.randint(2**62, (1,), generator=rng).item())

        def noisy(rows: Tensor, queries: QueryBatch) -> Tensor:
            normal = (
                torch.randn(rows.shape, generator=rng)
                if self.fresh
                else keyed_normal(queries.inputs, rows.shape[1], key=key)
            )
            return self._noisy(rows, normal)

        return transformed(self.below(context, state, rng=rng), noisy)

    def _noisy(self, clean: Tensor, normal: Tensor) -> Tensor:
        if self.kind == "vertex":
            return towards_random_class(clean, normal, epsilon=self.epsilon, preserve_argmax=self.preserve_argmax)
        rows = noisy_logits(clean, normal, sigma=self.sigma)
        return keep_argmax(rows, clean) if self.preserve_argmax else rows


def noisy_logits(posteriors: Tensor, normal: Tensor, *, sigma: float) -> Tensor:
    """Return softmax(log y + sigma n) float64 for standard normal n (N, K)."""
    return (posteriors.double().clamp(min=LOG_FLOOR).log() + sigma * normal.double()).softmax(dim=1)


def towards_random_class(posteriors: Tensor, normal: Tensor, *, epsilon: float, preserve_argmax: bool) -> Tensor:
    """Return (1 - a) y + a e_r float64, a = epsilon / 2, r uniform over the classes other than the predicted one c.

    r is where ``normal`` (N, K) is largest. To keep the argmax a is at most (y_c - y_r) / (1 + y_c - y_r), where
    both are level, less a margin.
    """
    y = posteriors.double()
    predicted = y.argmax(dim=1, keepdim=True)
    drawn = normal.double().scatter(1, predicted, -torch.inf).argmax(dim=1, keepdim=True)
    weight = torch.full_like(y[:, :1], epsilon / 2)
    if preserve_argmax:
        gap = y.gather(1, predicted) - y.gather(1, drawn)
        weight = torch.minimum(weight, ((gap - MARGIN) / (1 + gap)).clamp(min=0))
    rows = y * (1 - weight)
    rows = rows.scatter_add(1, drawn, weight)
    return keep_argmax(rows, posteriors) if preserve_argmax else rows
