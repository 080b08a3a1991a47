"""How an oracle explains its answers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Generator, Tensor, nn

from arena.contracts.task import Explainer


class Explanation(ABC):
    """A method of attribution as frozen fields."""

    @abstractmethod
    def deploy(self, module: nn.Module, references: Tensor, *, rng: Generator) -> Explainer:
        """Return the maps of ``module``'s logits, float32 on the CPU; ``references`` (R, *shape) are training inputs.

        Raises `BadParameter` if the module has no layer that can be explained so.
        """
