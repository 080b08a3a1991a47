"""The transfer set of an attack, which stores each labelled query once, and the division of a budget into rounds."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from arena.contracts import Answer, Oracle
from arena.learning.oracle_view import OracleView


class LabelledQueries(NamedTuple):
    """Queried inputs (N, *shape) and the rows (N, K) that were released for them."""

    inputs: Tensor
    released: Tensor


class TransferSet(OracleView):
    """An oracle that stores every queried input with its released row, in order, so that no query need be repeated."""

    def __init__(self, oracle: Oracle) -> None:
        super().__init__(oracle=oracle)
        self._inputs = [torch.empty(0, *oracle.task.shape)]
        self._released = [torch.empty(0, oracle.task.classes)]

    def __len__(self) -> int:
        return sum(map(len, self._inputs))

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        answer = super().query(inputs, explain=explain, account=account)
        self._inputs.append(inputs)
        self._released.append(answer.posteriors)
        return answer

    def extend(self, inputs: Tensor, *, account: int = 0) -> Tensor:
        """Query inputs (N, *shape) and return their released rows (N, K), zeros where refused; N = 0 makes no call."""
        return self.query(inputs, account=account).posteriors if len(inputs) else self._released[0][:0]

    @property
    def inputs(self) -> Tensor:
        """All queried inputs (N, *shape), refused ones included; read only."""
        self._inputs = _in_one_piece(self._inputs)
        return self._inputs[0]

    @property
    def released(self) -> Tensor:
        """All released rows (N, K), zeros where refused, so that these drop out of a soft cross entropy; read only."""
        self._released = _in_one_piece(self._released)
        return self._released[0]

    def answered(self) -> LabelledQueries:
        """Return the queries that were not refused."""
        inputs, released = self.inputs, self.released
        kept = released.sum(dim=1) > 0
        return LabelledQueries(inputs[kept], released[kept])


def _in_one_piece(parts: list[Tensor]) -> list[Tensor]:
    return parts if len(parts) == 1 else [torch.cat(parts)]


def shares(budget: int, rounds: int) -> list[int]:
    """Return how many rows each of ``rounds`` rounds may query; the numbers always sum to ``budget``."""
    return [budget * (number + 1) // rounds - budget * number // rounds for number in range(rounds)]
