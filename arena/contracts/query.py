"""One call to an oracle, the answer to it, and the deployed defense that answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryBatch:
    """One call from one account; calls are never merged. Accounts are opaque numbers, drawn anew for each match."""

    inputs: Tensor  # (N, *shape) float32, N >= 1
    account: int = 0
    explain: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """Posteriors (confidence scores) (N, K) float32. A refused row is charged, and is all zeros.

    A row of zeros drops out of a soft cross entropy, so attacks need not treat it specially.
    """

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
    """A defense deployed for one match, with its own state and randomness; called in recorded order by one thread."""

    def __call__(self, queries: QueryBatch) -> Answer: ...
