"""What is publicly known about a victim, and the victim itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from torch import Tensor, nn

State: TypeAlias = Mapping[str, Tensor]
"""The result of ``Defense.train``, stored as safetensors; numbers are 0-d tensors."""

Explainer: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A function from inputs (N, *shape) and classes (N,) to maps (N, H', W') or (N, d)."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is publicly known about a victim. Inputs are float32 in [0, 1]; the training split scales table columns."""

    shape: tuple[int, ...]  # (C, H, W) for images, (d,) for tables
    classes: int
    class_names: tuple[str, ...] = ()  # empty in ranked play, where the data set stays unknown


class Victim(Protocol):
    """A frozen classifier from inputs (N, *shape) to posteriors (N, K) float32; its forwards are padded."""

    @property
    def task(self) -> Task: ...

    @property
    def module(self) -> nn.Module | None:
        """The network, from inputs to differentiable logits (N, K); None if only its answers are available."""

    def __call__(self, inputs: Tensor) -> Tensor: ...
