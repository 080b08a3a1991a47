"""Release the least informative row within a distance (``modelguard-w``), or quantise all rows (``modelguard-s``).

Source: Tang, Dai, DiValentin, Ding, Hass, Gong, Chen, Li, "ModelGuard: Information-Theoretic Defense Against Model
Extraction Attacks", USENIX Security 2024; ModelGuard-W (a linear programme per row) and ModelGuard-S (a quantiser of
the clean rows that grows with the queries, "ordered" in the authors' code).
W needs no surrogate: the row that says least about y, in terms of expected log y, is the solution of a linear
programme.
Departures: The programme is solved exactly and in batches, where the authors call a solver for each row. Among equally
good rows, the order of the clean classes decides. S starts with an empty codebook, as the authors' scripts do, so that
the first row of each codeword is released unchanged.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor

from arena.contracts import Answer, BadParameter, DefenseContext, Promise, QueryBatch, Responder, State
from arena.defenses.parts.cheapest_rows import cheapest_rows_keeping_argmax
from arena.learning.composition import ComposableDefense, transformed
from arena.learning.release import DIAMETER, keep_argmax

FLOOR = 1e-6  # added to posteriors before their logarithm, as in the authors' code


@dataclass(frozen=True, kw_only=True)
class ModelGuardW(ComposableDefense):
    """``epsilon`` bounds the L1 distance, and ``margin`` is the least lead of the predicted class."""

    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("epsilon", (0.0, 0.1, 0.2, 0.5, 1.0, 1.5))

    epsilon: float = 1.0
    margin: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_epsilon(self.epsilon)
        if not 0 <= self.margin < 1:
            message = f"margin = {self.margin} must lie in [0, 1): it is a difference of posteriors"
            raise BadParameter(message)

    @property
    def own_promise(self) -> Promise:
        return Promise(argmax=True, l1=self.epsilon)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        return transformed(
            self.below(context, state, rng=rng),
            lambda rows, _: keep_argmax(least_likely(rows, epsilon=self.epsilon, margin=self.margin), rows),
        )


def least_likely(posteriors: Tensor, *, epsilon: float, margin: float) -> Tensor:
    """Return the rows x (N, K) float64 that minimise sum_k x_k log(y_k + 1e-6) within ``epsilon`` of y.

    They keep the argmax of y by ``margin``.
    """
    costs = (posteriors.double() + FLOOR).log()
    return cheapest_rows_keeping_argmax(costs, posteriors, epsilon=epsilon, margin=margin)


@dataclass(frozen=True, kw_only=True)
class ModelGuardS(ComposableDefense):
    """``epsilon`` is the largest L1 distance from a row to the codeword that replaces it."""

    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("epsilon", (0.0, 0.1, 0.2, 0.5, 1.0, 1.5))

    epsilon: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_epsilon(self.epsilon)

    @property
    def own_promise(self) -> Promise:
        return Promise(argmax=True, l1=self.epsilon, stateful=True)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        book = Book(context.victim.task.classes, epsilon=self.epsilon)
        below = self.below(context, state, rng=rng)

        def respond(queries: QueryBatch) -> Answer:
            answer = below(queries)
            answered = ~answer.refused  # refused rows must not enter the codebook
            rows = answer.posteriors.clone()
            rows[answered] = book.words_for(rows[answered])
            return replace(answer, posteriors=rows)

        return respond


class Book:
    """The codebook: the rows that replace all others, in the order in which they were added."""

    def __init__(self, classes: int, *, epsilon: float) -> None:
        self._epsilon = epsilon
        self._words = torch.empty(0, classes)

    def words_for(self, rows: Tensor) -> Tensor:
        """Return, for each row (N, K) in order, the first word with its argmax within epsilon.

        A row without such a word becomes a word itself. The result is the same as for one row at a time, because a new
        word is compared at once with the rows after it.
        """
        near = self._near(rows, self._words)
        first = near.int().argmax(dim=1) if len(self._words) else torch.zeros(len(rows), dtype=torch.int64)
        found = near.any(dim=1)
        while not bool(found.all()):
            new = int((~found).int().argmax())
            replaced = ~found & self._near(rows, rows[new : new + 1]).squeeze(1)
            first[replaced] = len(self._words)
            found |= replaced
            self._words = torch.cat([self._words, rows[new : new + 1]])
        return self._words[first]

    def _near(self, rows: Tensor, words: Tensor) -> Tensor:
        """Return whether each of M words has a row's argmax and is within epsilon of it, (N, M) bool."""
        alike = rows.argmax(dim=1).unsqueeze(1) == words.argmax(dim=1)
        return alike & (torch.cdist(rows.double(), words.double(), p=1.0) <= self._epsilon)


def _check_epsilon(epsilon: float) -> None:
    if not 0 <= epsilon <= DIAMETER:
        message = f"epsilon = {epsilon} must lie in [0, {DIAMETER:g}]: no two rows are farther apart in L1"
        raise BadParameter(message)
