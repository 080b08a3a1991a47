"""Query random rows of the pool and distil the answers: the baseline for every other attack.

Source: Orekondy, Schiele, Fritz, "Knockoff Nets: Stealing Functionality of Black-Box Models", CVPR 2019, arXiv
1812.02766; the random strategy.
Departures: The clone (the literature's substitute model) is trained by the arena's recipe, Adam with cosine decay,
instead of SGD over 200 epochs.
Published number: none on equal terms (the paper's pools are ImageNet and OpenImages). Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, nn

from arena.contracts import Attack, AttackContext, Need, Oracle, StopReason
from arena.learning.architectures import build
from arena.learning.distillation import distil


@dataclass(frozen=True, kw_only=True)
class KnockoffNets(Attack):
    """``arch`` is the clone's architecture (``auto``: chosen by the task), ``steps`` None the referee's recipe."""

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})
    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"pool exhausted"})

    arch: str = "auto"
    steps: int | None = None

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Query min(budget, len(pool)) rows without replacement, then distil."""
        order = torch.randperm(len(context.pool), generator=rng)
        chosen = context.pool[order[: oracle.remaining]]
        released = oracle.query(chosen).posteriors
        clone = build(self.arch, oracle.task, rng=rng).to(context.device)
        return distil(clone, chosen, released, rng=rng, steps=self.steps, time_left=context.time_left)
