"""The attacker's side of a model extraction: the oracle that it queries, and what else its threat model grants it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Generator, Tensor, device, nn

from arena.contracts.defense import Defense
from arena.contracts.facts import Note, unnoted
from arena.contracts.query import Answer
from arena.contracts.spec import Need, Spec, StopReason
from arena.contracts.task import Task


class Oracle(Protocol):
    """The prediction API of a defended victim, which is all that an attack sees of it.

    `query` refuses a call that costs more than `remaining` as a whole, without charging it.
    """

    @property
    def task(self) -> Task: ...

    @property
    def accounts(self) -> int:
        """The number of accounts that the attack may use, numbered from 0; they share one query budget."""

    @property
    def explanation(self) -> str | None:
        """The explanation that can be requested; None if ``explain=True`` is refused."""

    @property
    def explanation_price(self) -> int:
        """Units of the budget that an explained row costs on top of its one."""

    @property
    def remaining(self) -> int: ...

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackContext:
    """What the attacker is given (its threat model): an unlabelled pool (M, *shape), M = 0 for "none", and a clock.

    The pool can only be read, and rows that are chosen from a large one are converted to float32 when they are used.
    ``time_left`` returns the seconds that remain for the attack.
    """

    pool: Tensor
    device: device
    time_left: Callable[[], float]
    defense: Spec | None = None  # its name and public parameters, never keys or seeds; None in a blind match
    simulated: Defense | None = None  # the same defense, built: an informed attack may deploy it on its own networks
    note: Note = unnoted  # states facts about the attack's own play, which the result shows


class Attack(ABC):
    """A model extraction attack; its hyper-parameters are frozen fields.

    A wrapper has a field ``base: Attack``, which it lets play against a view of the oracle.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    stops_early: ClassVar[frozenset[StopReason]] = frozenset()

    def min_budget(self, task: Task) -> int:
        """Return the smallest query budget with which the attack can play; checked before anything is spent."""
        return 1

    @abstractmethod
    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Return the clone (substitute model) in eval mode, a module from inputs to logits (N, K).

        The referee applies softmax to the logits.
        """
