"""Defenses on top of other defenses: what answers below them, and what the composition needs and promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Generator, Tensor

from arena.contracts import Answer, Defense, DefenseContext, Promise, QueryBatch, Responder, State, Task, Victim
from arena.learning.randomness import child
from arena.learning.release import released

_BASE = "base/"  # the prefix of the names in the base's state


@dataclass(frozen=True, kw_only=True)
class ComposableDefense(Defense):
    """A defense that changes the answers of ``base``, or of the victim if there is no base."""

    base: Defense | None = None

    def __post_init__(self) -> None:
        if self.base is not None:  # these class variables of an ordinary defense also depend on the base here
            object.__setattr__(self, "needs", type(self).needs | self.base.needs)
            object.__setattr__(self, "optional_needs", type(self).optional_needs | self.base.optional_needs)
            object.__setattr__(self, "replaces_victim", type(self).replaces_victim or self.base.replaces_victim)

    @property
    def own_promise(self) -> Promise:
        """What this defense promises relative to the answers below it."""
        return Promise()

    @property
    def promise(self) -> Promise:
        return self.own_promise if self.base is None else chained(self.base.promise, self.own_promise)

    @property
    def detection_delay(self) -> int:
        return 0 if self.base is None else self.base.detection_delay

    def check(self, task: Task) -> None:
        if self.base is not None:
            self.base.check(task)

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        if self.base is None:
            return {}
        return {_BASE + name: value for name, value in self.base.train(context, rng=rng).items()}

    def below(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        """Return the responder below this defense; ``state`` is this defense's state, including that of its base."""
        if self.base is None:
            return answered_by(context.victim)
        of_base = {name.removeprefix(_BASE): value for name, value in state.items() if name.startswith(_BASE)}
        return self.base.deploy(context, of_base, rng=child(rng))


def chained(first: Promise, second: Promise) -> Promise:
    """Return what holds for rows that keep ``second`` relative to rows that keep ``first`` relative to the victim's.

    Distances add up by the triangle inequality, and the noise is fresh if that of either is.
    """
    noises = {first.noise, second.noise}
    return Promise(
        argmax=first.argmax and second.argmax,
        l1=None if first.l1 is None or second.l1 is None else first.l1 + second.l1,
        stateful=first.stateful or second.stateful,
        noise="fresh" if "fresh" in noises else "keyed" if "keyed" in noises else "none",
    )


def answered_by(victim: Victim) -> Responder:
    """Return a responder that releases the victim's own posteriors."""
    return lambda queries: released(victim(queries.inputs))


def transformed(below: Responder, transform: Callable[[Tensor, QueryBatch], Tensor]) -> Responder:
    """Return a responder that applies ``transform`` to the rows (N, K) below it; refused rows stay refused."""

    def respond(queries: QueryBatch) -> Answer:
        answer = below(queries)
        rows, refused = answer.posteriors, answer.refused.unsqueeze(1)
        uniform = rows.new_full(
            (1, rows.shape[1]), 1 / rows.shape[1]
        )  # in place of refused rows, which are zeros off the simplex
        rows = transform(rows.where(~refused, uniform), queries)
        return replace(answer, posteriors=rows.float() * ~refused)

    return respond
