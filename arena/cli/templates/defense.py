"""Flatten each answer by a temperature and keep its label: replace this with your idea."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from arena.contracts import BadParameter, Defense, DefenseContext, Promise, QueryBatch, Responder, State
from arena.learning.composition import answered_by, transformed
from arena.learning.release import keep_argmax

SMALLEST = 1e-12  # posteriors of exactly 0 have no logarithm


@dataclass(frozen=True, kw_only=True)
class StarterDefense(Defense):
    """Fields are parameters: ``temperature`` 1 releases the victim's rows, and larger values flatten them."""

    temperature: float = 2.0

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            message = f"temperature = {self.temperature} must be more than 0"
            raise BadParameter(message)

    @property
    def promise(self) -> Promise:
        return Promise(argmax=True)  # the referee counts each row that breaks it

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        # Called once per match. Keep the state of a match in what is returned here, never in the class, and draw only
        # from rng. context has the victim, training and validation rows, and what the matchup grants: outliers and
        # surrogate. To train something first, define train and name the fields that it reads in trained_by.
        def flattened(posteriors: Tensor, queries: QueryBatch) -> Tensor:
            rows = (posteriors.double().clamp(min=SMALLEST).log() / self.temperature).softmax(dim=1)
            return keep_argmax(rows, posteriors)

        return transformed(answered_by(context.victim), flattened)
