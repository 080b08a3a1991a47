"""What is publicly known about a victim, and the victim itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from torch import Tensor, nn

State: TypeAlias = Mapping[str, Tensor]
"""What ``Defense.train`` made; stored as safetensors, numbers as 0-d tensors."""

Explainer: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Inputs (N, *shape) and classes (N,) to maps (N, H', W') or (N, d)."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is publicly known about a victim. Inputs are float32 in [0, 1]; table columns are scaled by the training split."""

    shape: tuple[int, ...]  # (C, H, W) for images, (d,) for tables
    classes: int
    class_names: tuple[str, ...] = ()  # empty in ranked play; the data set is never named


class Victim(Protocol):
    """A frozen classifier: inputs (N, *shape) to posteriors (N, K) float32, forward padded to fixed batch sizes."""

    @property
    def task(self) -> Task: ...

    @property
    def module(self) -> nn.Module | None:
        """The network, from inputs to differentiable logits (N, K); None when only answers are available."""

    def __call__(self, inputs: Tensor) -> Tensor: ...
