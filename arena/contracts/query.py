"""One call to an oracle, its answer, and the defense that gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryBatch:
    """One call of one account, never merged with another; accounts are opaque numbers, fresh in each match."""

    inputs: Tensor  # (N, *shape) float32, N >= 1
    account: int = 0
    explain: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """Posteriors (N, K) float32; a refused row is charged, all zeros, and so drops out of a soft cross entropy."""

    posteriors: Tensor
    refused: Tensor  # (N,) bool
    explanations: Tensor | None = None  # None though asked: the oracle adds the victim's map of the released argmax


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedCall:
    """A call as a ledger has it, with the answer that was released; an honest one was not charged."""

    queries: QueryBatch
    answer: Answer
    honest: bool


class Responder(Protocol):
    """A defense deployed for one match; owns its state and randomness; called in recorded order, by one thread."""

    def __call__(self, queries: QueryBatch) -> Answer: ...
