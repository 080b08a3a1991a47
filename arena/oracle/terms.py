"""The terms under which an oracle answers: what a call may contain, how large it may be, what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from arena.contracts import InvalidQuery, QueryBatch, QueryTooLarge, Task
from arena.learning.compact import plain
from arena.oracle.record import PackedBatch

MAX_ROWS = 256
"""The largest number of rows in one call, the same for local and remote oracles, so that both see the same calls."""

REQUEST_ID_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class OracleTerms:
    """What an attack is told about its oracle."""

    task: Task
    budget: int
    accounts: int = 1
    explanation: str | None = None
    explanation_price: int = 1  # extra units per explained row
    max_rows: int = MAX_ROWS  # in one call

    def price(self, rows: int, *, explain: bool) -> int:
        """Return what a call costs, in units of the budget."""
        return rows * (1 + self.explanation_price) if explain else rows

    def check(self, queries: QueryBatch) -> None:
        """Raise `InvalidQuery` if the oracle does not accept such inputs; `check_size` checks their number."""
        inputs = queries.inputs
        if not isinstance(inputs, Tensor):
            raise InvalidQuery(f"inputs must be a torch tensor, not {type(inputs).__module__}.{type(inputs).__name__}")
        if inputs.dtype != torch.float32:
            raise InvalidQuery(f"inputs must be of dtype torch.float32, not {inputs.dtype}")
        if tuple(inputs.shape[1:]) != self.task.shape or inputs.dim() != 1 + len(self.task.shape):
            raise InvalidQuery(f"inputs must have shape (N, {numbers(self.task.shape)}), not ({numbers(inputs.shape)})")
        if len(inputs) == 0:
            raise InvalidQuery("a call must have at least one row")
        if not 0 <= queries.account < self.accounts:
            raise InvalidQuery(f"there is no account {queries.account}; accounts are 0 to {self.accounts - 1}")
        if queries.explain and self.explanation is None:
            raise InvalidQuery("this oracle gives no explanations; query without explain")
        if isinstance(queries, PackedBatch):
            return  # uint8 values k/255 are in range
        ends = [float(end) for rows in inputs.detach().split(MAX_ROWS) for end in plain(rows).aminmax()]
        low, high = (float(end) for end in torch.tensor(ends).aminmax())  # both are NaN if any value is
        if not (low >= 0 and high <= 1):
            raise InvalidQuery(f"inputs must be finite and within [0, 1]; these range from {low!r} to {high!r}")

    def check_size(self, rows: int) -> None:
        """Raise `QueryTooLarge` if a call has more rows than the oracle accepts at once."""
        if rows > self.max_rows:
            raise QueryTooLarge(f"{rows} rows in one call; at most {self.max_rows} are allowed, so split the query")


def numbers(shape: Sequence[int]) -> str:
    """Return a shape as it is printed in messages, such as ``3, 32, 32``."""
    return ", ".join(map(str, shape))
