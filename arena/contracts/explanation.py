"""How an oracle explains its answers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Generator, Tensor, nn

from arena.contracts.task import Explainer


class Explanation(ABC):
    """An attribution method; its hyper-parameters are frozen fields."""

    @abstractmethod
    def deploy(self, module: nn.Module, references: Tensor, *, rng: Generator) -> Explainer:
        """Return a function that explains ``module``'s logits by maps, which are float32 on the CPU.

        ``references`` (R, *shape) are training inputs. Raises `BadParameter` if the method does not suit the module.
        """
