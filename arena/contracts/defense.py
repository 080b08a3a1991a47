"""The defender's side: what a defense may know, what it promises, what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Generator, Tensor, device, nn

from arena.contracts.explanation import Explanation
from arena.contracts.query import Responder
from arena.contracts.spec import Need, OutlierKind, SurrogateKind
from arena.contracts.task import Explainer, State, Task, Victim


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What a matchup lets its defense know; keys of the defense in TOML, a column of every table."""

    outliers: OutlierKind = "none"
    surrogate: SurrogateKind = "none"


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What holds for each released float32 row against the clean one; the referee counts where it is broken."""

    argmax: bool = False
    l1: float | None = None
    stateful: bool = False  # earlier calls matter
    noise: Literal["none", "keyed", "fresh"] = "none"  # keyed: an equal row gets equal noise within a match


@dataclass(frozen=True, kw_only=True, eq=False)
class DefenseContext:
    """What a defense is given; the referee prepares outliers and surrogate as Knowledge declares, else None."""

    victim: Victim
    device: device
    training: tuple[Tensor, Tensor]  # inputs, labels (N,) int64
    validation: tuple[Tensor, Tensor]  # never the referee's test split
    outliers: Tensor | None = None
    surrogate: nn.Module | None = None  # gives logits
    explanation: Explanation | None = None  # what the oracle offers; ``explainer`` is that of the victim itself
    explainer: Explainer | None = None


class Defense(ABC):
    """Hyper-parameters of a protection as frozen fields; a wrapper has ``base: Defense``, trains and deploys it."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    optional_needs: ClassVar[frozenset[Need]] = (
        frozenset()
    )  # given unless "none" is declared; it works without them too
    trained_by: ClassVar[frozenset[str]] = frozenset()  # fields that `train` reads: they alone enter its cache key
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = None  # the field that draws the trade-off curve
    replaces_victim: ClassVar[bool] = False  # another model is deployed: fidelity to it is scored beside

    @property
    def detection_delay(self) -> int:
        """Rows of one account before which it cannot act, 0 if it acts at once; smaller budgets are flagged."""
        return 0

    @property
    def promise(self) -> Promise:
        """Overridden from the fields, e.g. ``Promise(argmax=True, l1=self.epsilon)``."""
        return Promise()

    def check(self, task: Task) -> None:  # noqa: B027  # most defenses fit every task
        """Raise `BadParameter` if it does not fit a task; asked before the first match."""

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        """Costly, once per defended victim."""
        return {}

    @abstractmethod
    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        """Cheap, once per match."""
