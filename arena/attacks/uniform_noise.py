"""Query uniform noise and distil the answers: the lower baseline for every attack that chooses its queries.

Source: the random baseline of Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing Machine Learning Models via
Prediction APIs", USENIX Security 2016, arXiv 1609.02943, with the arena's clone recipe.
Departures: Any network can be attacked; the paper covers linear models and small networks.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, nn

from arena.contracts import Attack, AttackContext, Oracle
from arena.learning.architectures import build
from arena.learning.distillation import distil


@dataclass(frozen=True, kw_only=True)
class UniformNoise(Attack):
    """``arch`` is the clone's architecture (``auto``: chosen by the task), ``steps`` None the referee's recipe."""

    arch: str = "auto"
    steps: int | None = None

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Spend the whole budget on rows drawn uniformly from [0, 1], then distil; the pool is not used."""
        noise = torch.rand(oracle.remaining, *oracle.task.shape, generator=rng)
        released = oracle.query(noise).posteriors
        clone = build(self.arch, oracle.task, rng=rng).to(context.device)
        return distil(clone, noise, released, rng=rng, steps=self.steps, time_left=context.time_left)
