"""What a finished clone is good for: run by the referee, through a meter of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Generator, Tensor, device, nn

from arena.contracts.attack import Oracle
from arena.contracts.task import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class ThreatContext:
    """What the referee gives a threat beside the clone."""

    test: tuple[Tensor, Tensor]  # inputs (N, *shape), labels (N,): no player has seen them
    training: tuple[Tensor, Tensor]  # the victim's: what inversion is after
    transfer_set: tuple[Tensor, Tensor]  # what the attack queried: inputs, released rows
    pool: Tensor  # (M, *shape)
    judge: Callable[[Tensor], Tensor]  # an independent classifier: inputs to posteriors
    device: device
    time_left: Callable[[], float]


@dataclass(frozen=True, kw_only=True, eq=False)
class ThreatReport:
    """Counts as (hits, total), measures, and a grid of images (rows, columns, C, H, W) for a reader; names are the threat's own."""

    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    grid: Tensor | None = None


class Threat(ABC):
    """A second-stage attack as frozen fields. Its clone gives gradients for nothing; its oracle is metered."""

    def min_budget(self, task: Task) -> int:
        """Smallest budget with which it says anything. Raises `BadParameter` for a task that it does not fit."""
        return 1

    @abstractmethod
    def assess(self, clone: nn.Module, oracle: Oracle, context: ThreatContext, *, rng: Generator) -> ThreatReport:
        """Use the clone against the defended victim behind ``oracle`` and count what came of it."""
