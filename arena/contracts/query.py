"""A call to an oracle, the answer to it, and the deployed defense that answers."""

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
    """Posteriors (confidence scores) as (N, K) float32. A refused row is charged, and is all zeros.

    A row of zeros contributes nothing to a soft cross entropy, so attacks need not treat it specially.
    """

    posteriors: Tensor
    refused: Tensor  # (N,) bool
    explanations: Tensor | None = None  # if requested and None, the oracle adds the victim's map of the released argmax


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedCall:
    """A call as it is recorded in a ledger, with the answer that was released; honest calls were not charged."""

    queries: QueryBatch
    answer: Answer
    honest: bool


class Responder(Protocol):
    """A defense deployed for one match, with its own state and randomness; one thread calls it in recorded order."""

    def __call__(self, queries: QueryBatch) -> Answer: ...
