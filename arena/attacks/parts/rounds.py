"""What attacks in rounds share: the rows of the pool that were not asked yet, and clones that start anew each round."""

from __future__ import annotations

import copy

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import AttackContext, Task
from arena.learning.architectures import build
from arena.learning.distillation import distil
from arena.learning.randomness import child


class Unasked:
    """The rows of a pool that were not taken yet; ``numbers`` are their indices, in an order drawn at the start."""

    def __init__(self, pool: Tensor, *, rng: Generator) -> None:
        self._pool, self._rng = pool, rng
        self.numbers = torch.randperm(len(pool), generator=rng)

    def __len__(self) -> int:
        return len(self.numbers)

    def sample(self, rows: int) -> Tensor:
        """Return the indices of random rows in a fresh order, all of them if there are fewer; they stay untaken."""
        return self.numbers[torch.randperm(len(self.numbers), generator=self._rng)[:rows]]

    def take(self, chosen: Tensor | int) -> Tensor:
        """Return rows by their indices in the pool, or the next so many; they do not come again."""
        taken = self.numbers[:chosen] if isinstance(chosen, int) else chosen
        gone = torch.zeros(len(self._pool), dtype=torch.bool)
        gone[taken] = True
        self.numbers = self.numbers[~gone[self.numbers]]
        return self._pool[taken]


class FreshClones:
    """Trains clones that all start from the same random weights: a warm start favours the rows that came early."""

    def __init__(self, arch: str, task: Task, context: AttackContext, *, rng: Generator) -> None:
        self._untrained = build(arch, task, rng=rng).to(context.device)
        self._rng, self._time_left = child(rng), context.time_left

    def fitted(self, bought: TransferSet, *, steps: int | None) -> nn.Module:
        """Return a clone in eval mode, distilled from everything bought so far; ``steps`` None: the recipe's."""
        clone = copy.deepcopy(self._untrained)
        return distil(clone, bought.inputs, bought.released, rng=self._rng, steps=steps, time_left=self._time_left)
