"""The attacker's side: the oracle it sees, the context it plays on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Generator, Tensor, device, nn

from arena.contracts.defense import Defense
from arena.contracts.query import Answer
from arena.contracts.spec import Need, Spec, StopReason
from arena.contracts.task import Task


class Oracle(Protocol):
    """All that an attack sees; `query` refuses whole, uncharged, what costs more than `remaining`."""

    @property
    def task(self) -> Task: ...

    @property
    def accounts(self) -> int:
        """Valid accounts are 0 .. accounts - 1, one budget over all."""

    @property
    def explanation(self) -> str | None:
        """None: ``explain=True`` is refused."""

    @property
    def explanation_price(self) -> int:
        """Extra units per explained row."""

    @property
    def remaining(self) -> int: ...

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackContext:
    """What an attack is given: unlabelled pool (M, *shape), M = 0 for "none"; its clock in seconds left."""

    pool: Tensor
    device: device
    time_left: Callable[[], float]
    defense: Spec | None = None  # name and public parameters, never keys or seeds; None when playing blind
    simulated: Defense | None = None  # the same, built: an informed attack may deploy it on networks of its own


class Attack(ABC):
    """Hyper-parameters of a theft as frozen fields; a wrapper has ``base: Attack`` and gives it an oracle view."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    stops_early: ClassVar[frozenset[StopReason]] = frozenset()

    def min_budget(self, task: Task) -> int:
        """Smallest budget it can play with, checked before anything is spent."""
        return 1

    @abstractmethod
    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """The clone: eval mode, gives logits (N, K); the referee applies the softmax."""
