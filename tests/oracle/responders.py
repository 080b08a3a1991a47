"""The smallest victims and defenses that show a point: no networks, no training."""

from __future__ import annotations

import torch

from arena.contracts import Answer, QueryBatch, Task

TASK = Task(shape=(2,), classes=3)


class CountingResponder:
    """A stateful defense whose answer depends on every row that it has answered so far."""

    def __init__(self) -> None:
        self.rows = 0
        self.accounts: list[int] = []

    def __call__(self, queries: QueryBatch) -> Answer:
        self.rows += len(queries.inputs)
        self.accounts.append(queries.account)
        weights = torch.ones(len(queries.inputs), TASK.classes)
        weights[:, 0] += queries.inputs.sum(dim=1) + self.rows
        return Answer(
            posteriors=weights / weights.sum(dim=1, keepdim=True),
            refused=torch.zeros(len(queries.inputs), dtype=torch.bool),
        )


def inputs(rows: int, *, seed: int = 0) -> torch.Tensor:
    """(rows, 2) float32 in [0, 1]."""
    return torch.rand(rows, *TASK.shape, generator=torch.Generator().manual_seed(seed))


def batch(rows: int, *, seed: int = 0, account: int = 0, explain: bool = False) -> QueryBatch:
    return QueryBatch(inputs=inputs(rows, seed=seed), account=account, explain=explain)


def key(number: int) -> bytes:
    return number.to_bytes(16, "little")
