"""Second-stage attacks that use a finished clone; the referee runs them against a separately metered oracle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Generator, Tensor, device, nn

from arena.contracts.attack import Oracle
from arena.contracts.task import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class ThreatContext:
    """What the referee gives a threat besides the clone and the oracle."""

    test: tuple[Tensor, Tensor]  # inputs (N, *shape), labels (N,): no player has seen them
    training: tuple[Tensor, Tensor]  # the victim's training inputs and labels, which inversion tries to reconstruct
    transfer_set: tuple[Tensor, Tensor]  # the inputs that the attack queried, and the released rows
    pool: Tensor  # (M, *shape)
    judge: Callable[[Tensor], Tensor]  # an independent classifier: inputs to posteriors
    device: device
    time_left: Callable[[], float]


@dataclass(frozen=True, kw_only=True, eq=False)
class ThreatReport:
    """Counts as (hits, total), measures, and a grid of images (rows, columns, C, H, W); the threat names its scores."""

    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    grid: Tensor | None = None


class Threat(ABC):
    """A second-stage attack, with hyper-parameters as frozen fields. Its oracle is metered; the clone is not."""

    needs_gradients: ClassVar[bool] = False  # of the clone's logits with respect to its inputs

    def min_budget(self, task: Task) -> int:
        """Return the smallest budget with a meaningful result. Raises `BadParameter` for an unsuitable task."""
        return 1

    @abstractmethod
    def assess(self, clone: nn.Module, oracle: Oracle, context: ThreatContext, *, rng: Generator) -> ThreatReport:
        """Use the clone against the defended victim behind ``oracle`` and return how often it succeeded."""
