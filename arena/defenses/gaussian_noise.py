"""Perturb each answer at random, by Gaussian noise on the logits or a step towards a random class.

Source: the random baselines of Orekondy, Schiele, Fritz, "Prediction Poisoning", ICLR 2020, arXiv 1906.10908, and of
Mazeika, Li, Forsyth, "How to Steer Your Adversary", ICML 2022, arXiv 2206.14157 (the step of weight epsilon / 2).
Departures: Noise is added to log posteriors, which differ from the logits by a constant for each row. The noise
of ``gaussian-noise`` is a function of a secret key and the row, so an equal row gets equal noise and averaging gains
nothing. That of ``gaussian-noise-fresh`` changes when a row is repeated, and averaging removes it; play both.
Published number: none. Reproduced: formula.
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
    """``kind`` logit adds noise of deviation ``sigma``; ``kind`` vertex moves rows by up to ``epsilon`` in L1."""

    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("sigma", (0.0, 0.5, 1.0, 2.0, 4.0))

    kind: Literal["logit", "vertex"] = "logit"
    sigma: float = 1.0
    epsilon: float = 0.5
    fresh: bool = False
    preserve_argmax: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma < 0 or not 0 <= self.epsilon <= 2:
            message = f"sigma = {self.sigma} must be at least 0, and epsilon = {self.epsilon} must lie in [0, 2]"
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
    """Return softmax(log y + sigma n) as float64, for standard normal n (N, K)."""
    return (posteriors.double().clamp(min=LOG_FLOOR).log() + sigma * normal.double()).softmax(dim=1)


def towards_random_class(posteriors: Tensor, normal: Tensor, *, epsilon: float, preserve_argmax: bool) -> Tensor:
    """Return (1 - a) y + a e_r as float64, where a = epsilon / 2 and r is a random class other than the predicted c.

    r is the class where ``normal`` (N, K) is largest, so it is uniform. To keep the argmax, a is at most
    (y_c - y_r) / (1 + y_c - y_r), at which both classes tie, less a margin.
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
