"""What detecting defenses share: they differ in how they watch an account, and all act on suspicious ones as here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Generator, Tensor

from arena.contracts import Answer, BadParameter, DefenseContext, Promise, QueryBatch, Responder, State
from arena.learning.composition import ComposableDefense
from arena.learning.randomness import child, keyed_normal
from arena.learning.release import keep_argmax

Action = Literal["block", "throttle", "poison", "log"]


class Watch(Protocol):
    """The detector of one account. It sees the answered rows in order, and must not depend on how they are batched."""

    def __call__(self, inputs: Tensor, posteriors: Tensor) -> Tensor:
        """Return whether the alarm is raised after each of the rows (N, *shape) with posteriors (N, K), (N,) bool."""


@dataclass(frozen=True, kw_only=True)
class DetectingDefense(ComposableDefense):
    """Acts on the queries of an account while its alarm is raised; answers that were released before are not affected.

    ``action`` is what happens: ``block`` refuses the rows, ``throttle`` refuses all but every ``answered_every``-th,
    ``poison`` shuffles each row's posteriors, except the largest, by a secret key, and ``log`` changes nothing. Refused
    rows are charged. A ``latched`` alarm lasts for the rest of the match, even if a later test would clear it.
    """

    action: Action = "block"
    latched: bool = True
    answered_every: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.answered_every < 2:
            message = f"answered_every = {self.answered_every} must be at least 2: throttling must refuse some rows"
            raise BadParameter(message)

    @property
    def own_promise(self) -> Promise:
        poisons = self.action == "poison"
        return Promise(argmax=True, l1=None if poisons else 0.0, stateful=True, noise="keyed" if poisons else "none")

    @abstractmethod
    def watches(self, context: DefenseContext, state: State, *, rng: Generator) -> Callable[[], Watch]:
        """Return a function that creates the detector of a new account."""

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        below = self.below(context, state, rng=rng)
        key = int(torch.randint(2**62, (1,), generator=rng).item())
        opened = self.watches(context, state, rng=child(rng))
        accounts: dict[int, _Account] = {}

        def respond(queries: QueryBatch) -> Answer:
            answer = below(queries)
            account = accounts.setdefault(queries.account, _Account(opened))
            alarmed = account.alarmed(queries.inputs, answer, latched=self.latched)
            if self.action == "poison":
                poisoned = shuffled(
                    answer.posteriors, keyed_normal(queries.inputs, answer.posteriors.shape[1], key=key)
                )
                return replace(answer, posteriors=torch.where(alarmed.unsqueeze(1), poisoned, answer.posteriors))
            if self.action == "log":
                return answer
            spared = account.spared(alarmed, every=self.answered_every) if self.action == "throttle" else ~alarmed
            return without(answer, ~spared)

        return respond


class _Account:
    """The detector of one account, and what it has found so far."""

    def __init__(self, opened: Callable[[], Watch]) -> None:
        self._watch = opened()
        self._flagged = False
        self._suspicious_rows = 0

    def alarmed(self, inputs: Tensor, answer: Answer, *, latched: bool) -> Tensor:
        """Return for which rows the alarm is raised, (N,) bool; rows that were refused below do not count."""
        alarms = torch.zeros_like(answer.refused)
        answered = ~answer.refused
        if bool(answered.any()):
            alarms[answered] = self._watch(inputs[answered], answer.posteriors[answered])
        if latched:
            alarms = (alarms.cumsum(dim=0) > 0) | self._flagged
            self._flagged = bool(alarms[-1])
        return alarms & answered

    def spared(self, alarmed: Tensor, *, every: int) -> Tensor:
        """Return which rows are answered, (N,) bool: those without an alarm, and every ``every``-th with one."""
        place = self._suspicious_rows + alarmed.cumsum(dim=0)
        self._suspicious_rows = int(place[-1])
        return ~alarmed | (place % every == 0)


def shuffled(posteriors: Tensor, normal: Tensor) -> Tensor:
    """Return rows (N, K) float32 whose entries, except the largest, are permuted by the order of ``normal`` (N, K)."""
    best = posteriors.argmax(dim=1, keepdim=True)
    order = normal.scatter(1, best, torch.inf).argsort(dim=1)[:, :-1]  # the other classes, at random
    others = torch.arange(posteriors.shape[1]).expand_as(posteriors).scatter(1, best, posteriors.shape[1])
    places = others.sort(dim=1).values[:, :-1]
    rows = posteriors.scatter(1, places, posteriors.gather(1, order))
    return keep_argmax(rows, posteriors).float()


def without(answer: Answer, refused: Tensor) -> Answer:
    """Return an answer that also refuses the rows marked in ``refused`` (N,) bool."""
    kept = ~refused
    maps = answer.explanations
    return Answer(
        posteriors=answer.posteriors * kept.unsqueeze(1),
        refused=answer.refused | refused,
        explanations=None if maps is None else maps * kept.reshape(-1, *[1] * (maps.dim() - 1)),
    )
