"""Attacks that wrap another attack, and the modified views of the oracle that they pass to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from arena.contracts import Answer, Attack, BudgetExhausted, InvalidQuery, Oracle, Task


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
class OracleView:
    """Passes everything on to another oracle; subclasses override what they change.

    ``remaining`` counts rows of the attack that uses the view.
    """

    oracle: Oracle

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
        return self.oracle.query(inputs, explain=explain, account=account)

    def price(self, inputs: Tensor, *, explain: bool) -> int:
        """Return the price of a call before a view splits it or adds rows to it, so that it is refused as a whole.

        Raises `InvalidQuery` for a call without rows and `BudgetExhausted` for one that costs more than remains.
        """
        price = len(inputs) * (1 + explain * self.explanation_price)
        if price == 0:
            raise InvalidQuery("a call must query at least one row")
        if price > self.remaining:
            message = f"the call costs {price}, but only {self.remaining} of the budget remain"
            raise BudgetExhausted(message, remaining=self.remaining)
        return price


@dataclass(kw_only=True, eq=False)
class TransformedOracle(OracleView):
    """Applies ``transform``, from (N, K) to (N, K), to the released rows. Refused rows remain zero."""

    transform: Callable[[Tensor], Tensor]

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        answer = super().query(inputs, explain=explain, account=account)
        rows = self.transform(answer.posteriors) * (~answer.refused).unsqueeze(1)
        return replace(answer, posteriors=rows)
