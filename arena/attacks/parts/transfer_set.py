"""What an attack has bought so far, each row stored once, and how a budget is shared out over rounds."""

from __future__ import annotations

import torch
from torch import Tensor

from arena.attacks.parts.oracle_views import OracleView
from arena.contracts import Answer, Oracle


class TransferSet(OracleView):
    """An oracle that keeps every input with its released row, in order; nothing needs to be asked twice."""

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

    def ask(self, inputs: Tensor, *, account: int = 0) -> Tensor:
        """Return the released rows (N, K) of inputs (N, *shape), refused ones all zeros; no rows are no call."""
        return self.query(inputs, account=account).posteriors if len(inputs) else self._released[0][:0]

    @property
    def inputs(self) -> Tensor:
        """(N, *shape), refused rows included; not to be written to."""
        self._inputs = _in_one_piece(self._inputs)
        return self._inputs[0]

    @property
    def released(self) -> Tensor:
        """(N, K), zeros where refused: such a row drops out of a soft cross entropy; not to be written to."""
        self._released = _in_one_piece(self._released)
        return self._released[0]

    def answered(self) -> tuple[Tensor, Tensor]:
        """Return inputs and released rows without the refused ones."""
        inputs, released = self.inputs, self.released
        kept = released.sum(dim=1) > 0
        return inputs[kept], released[kept]


def _in_one_piece(parts: list[Tensor]) -> list[Tensor]:
    return parts if len(parts) == 1 else [torch.cat(parts)]


def shares(budget: int, rounds: int) -> list[int]:
    """Return how many rows each of ``rounds`` rounds may ask; they sum to ``budget`` for every budget."""
    return [budget * (number + 1) // rounds - budget * number // rounds for number in range(rounds)]
