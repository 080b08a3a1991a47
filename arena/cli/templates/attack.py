"""Query random rows of the pool and train a clone on the answers: replace this with your idea."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, nn

from arena.contracts import Attack, AttackContext, Need, Oracle, StopReason
from arena.learning.architectures import build
from arena.learning.distillation import distil


@dataclass(frozen=True, kw_only=True)
class StarterAttack(Attack):
    """Fields are parameters: ``arch`` names the clone's network; ``steps`` None: as many as the referee takes."""

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})  # a matchup without a pool is refused before it starts
    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"pool exhausted"})  # why some of the budget may be left

    arch: str = "auto"
    steps: int | None = None

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        # oracle.task has the shape of an input and the number of classes, oracle.remaining the rest of the budget.
        # context.pool (M, *shape) is unlabelled, context.time_left() returns seconds, and context.defense is the
        # defense's spec in informed matchups. Draw only from rng, so that the same seed gives the same match.
        order = torch.randperm(len(context.pool), generator=rng)
        chosen = context.pool[order[: oracle.remaining]]
        answer = oracle.query(chosen)  # posteriors (N, K); a row in answer.refused is charged and all zeros
        clone = build(self.arch, oracle.task, rng=rng).to(context.device)
        return distil(clone, chosen, answer.posteriors, rng=rng, steps=self.steps, time_left=context.time_left)
