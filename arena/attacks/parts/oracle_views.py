"""Attacks that wrap another attack, and the modified views of the oracle that they pass to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from arena.contracts import Answer, Attack, Task
from arena.learning.oracle_view import OracleView


@dataclass(frozen=True, kw_only=True)
class AttackWrapper(Attack):
    """Wraps the attack ``base``. It has the needs and the reasons to stop early of the wrapper and of its base."""

    base: Attack

    def __post_init__(self) -> None:
        # These are class variables of an ordinary attack; a wrapper has its own, because they depend on its base.
        object.__setattr__(self, "needs", type(self).needs | self.base.needs)
        object.__setattr__(self, "stops_early", type(self).stops_early | self.base.stops_early)

    def min_budget(self, task: Task) -> int:
        return self.base.min_budget(task)


@dataclass(kw_only=True, eq=False)
class TransformedOracle(OracleView):
    """Applies ``transform``, from (N, K) to (N, K), to the released rows. Refused rows remain zero."""

    transform: Callable[[Tensor], Tensor]

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        answer = super().query(inputs, explain=explain, account=account)
        rows = self.transform(answer.posteriors) * (~answer.refused).unsqueeze(1)
        return replace(answer, posteriors=rows)
