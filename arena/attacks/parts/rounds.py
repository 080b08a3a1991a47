"""What attacks in rounds share: the rows of the pool that have not been queried, and clones trained from scratch."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.transfer_set import TransferSet, shares
from arena.contracts import AttackContext, Task
from arena.learning.architectures import build
from arena.learning.distillation import distil
from arena.learning.randomness import child


class Unqueried:
    """The rows of a pool that have not been taken yet; ``indices`` are theirs, in an order drawn at the start."""

    def __init__(self, pool: Tensor, *, rng: Generator) -> None:
        self._pool, self._rng = pool, rng
        self.indices = torch.randperm(len(pool), generator=rng)

    def __len__(self) -> int:
        return len(self.indices)

    def sample(self, rows: int) -> Tensor:
        """Return the indices of random rows in a fresh order, without taking them; all of them if there are fewer."""
        return self.indices[torch.randperm(len(self.indices), generator=self._rng)[:rows]]

    def take(self, chosen: Tensor | int) -> Tensor:
        """Take rows, by their indices in the pool or the next so many, and return them; each is taken only once."""
        taken = self.indices[:chosen] if isinstance(chosen, int) else chosen
        gone = torch.zeros(len(self._pool), dtype=torch.bool)
        gone[taken] = True
        self.indices = self.indices[~gone[self.indices]]
        return self._pool[taken]


def shares_after_seed(
    unqueried: Unqueried,
    transfer_set: TransferSet,
    context: AttackContext,
    *,
    budget: int,
    seed_share: float,
    rounds: int,
) -> Iterator[int]:
    """Query the seed, which is random rows for ``seed_share`` of the budget, and yield how many rows each round chooses.

    The rest of the budget is divided into ``rounds`` equal shares, of which empty ones are left out. No round begins
    after the deadline.
    """
    seed = min(budget, max(1, int(seed_share * budget)))
    transfer_set.extend(unqueried.take(seed))
    for share in filter(None, shares(budget - seed, rounds)):
        if context.time_left() <= 0:
            return
        yield share


class FreshClones:
    """Trains clones that all start from the same random weights: a warm start would favour the earliest rows."""

    def __init__(self, arch: str, task: Task, context: AttackContext, *, rng: Generator) -> None:
        self._untrained = build(arch, task, rng=rng).to(context.device)
        self._rng, self._time_left = child(rng), context.time_left

    def fitted(self, transfer_set: TransferSet, *, steps: int | None) -> nn.Module:
        """Return a clone in eval mode, distilled from the whole transfer set; ``steps`` None: as in the recipe."""
        clone = copy.deepcopy(self._untrained)
        return distil(
            clone, transfer_set.inputs, transfer_set.released, rng=self._rng, steps=steps, time_left=self._time_left
        )
