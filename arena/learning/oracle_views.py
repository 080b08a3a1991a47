"""Oracles seen through a transformation: what a wrapper hands to the attack that it wraps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from arena.contracts import Answer, Oracle, Task


@dataclass(frozen=True, kw_only=True, eq=False)
class TransformedOracle:
    """Asks ``oracle`` and changes the released rows by ``transform``: (N, K) to (N, K). Refused rows stay zero."""

    oracle: Oracle
    transform: Callable[[Tensor], Tensor]

    @property
    def task(self) -> Task:
        return self.oracle.task

    @property
    def accounts(self) -> int:
        return self.oracle.accounts

    @property
    def explanation(self) -> str | None:
        return self.oracle.explanation

    @property
    def explanation_price(self) -> int:
        return self.oracle.explanation_price

    @property
    def remaining(self) -> int:
        return self.oracle.remaining

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        answer = self.oracle.query(inputs, explain=explain, account=account)
        rows = self.transform(answer.posteriors) * (~answer.refused).unsqueeze(1)
        return replace(answer, posteriors=rows)
