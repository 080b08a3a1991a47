"""The defender's side of a model extraction: what a defense may know, what it promises, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Generator, Tensor, device, nn

from arena.contracts.explanation import Explanation
from arena.contracts.facts import Note, unnoted
from arena.contracts.query import Responder
from arena.contracts.spec import Need, OutlierKind, SurrogateKind
from arena.contracts.task import Explainer, State, Task, Victim


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What a matchup gives its defense: outliers (out-of-distribution inputs) and a surrogate for the unknown clone."""

    outliers: OutlierKind = "none"
    outlier_source: str = ""  # data set or generator; empty: the first of its kind that the attack's pool does not have
    surrogate: SurrogateKind = "none"


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a defense guarantees for each released row compared with the clean one; the referee counts violations."""

    argmax: bool = False
    l1: float | None = None
    stateful: bool = False  # whether an answer may depend on earlier calls
    noise: Literal["none", "keyed", "fresh"] = "none"  # keyed: an equal row gets equal noise within a match


@dataclass(frozen=True, kw_only=True, eq=False)
class DefenseContext:
    """What the defender is given; outliers and surrogate are None unless the matchup's `Knowledge` grants them."""

    victim: Victim
    device: device
    training: tuple[Tensor, Tensor]  # inputs, labels (N,) int64
    validation: tuple[Tensor, Tensor]  # never the referee's test split
    outliers: Tensor | None = None
    surrogate: nn.Module | None = None  # from inputs to logits
    explanation: Explanation | None = None  # the explanation that the oracle offers
    explainer: Explainer | None = None  # the same explanation, deployed on the victim
    note: Note = unnoted  # states facts about the deployed defense, which the result shows


class Defense(ABC):
    """A defense against model extraction; its hyper-parameters are frozen fields.

    A wrapper has a field ``base: Defense``, which it trains and deploys.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    optional_needs: ClassVar[frozenset[Need]] = frozenset()  # granted unless the matchup says "none"; not required
    trained_by: ClassVar[frozenset[str]] = frozenset()  # the fields that `train` reads, which alone enter its cache key
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = None  # the field that the trade-off curve varies
    replaces_victim: ClassVar[bool] = False  # it answers with its own model, so it cannot be simulated on other answers

    @property
    def detection_delay(self) -> int:
        """The number of queries that an account must send before the detector can trigger; 0 if there is no delay."""
        return 0

    @property
    def promise(self) -> Promise:
        """What this configuration guarantees, such as ``Promise(argmax=True, l1=self.epsilon)``."""
        return Promise()

    def check(self, task: Task) -> None:  # noqa: B027  # most defenses suit every task
        """Raise `BadParameter` if the defense is unsuitable for a task; called before the first match."""

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        """Return whatever has to be trained; called once for each defended victim, and cached."""
        return {}

    @abstractmethod
    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        """Return what answers queries during one match; called once for each match, so it should be cheap."""
