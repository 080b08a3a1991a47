"""Oracles seen through something: what a wrapper hands to the attack that it wraps, and the wrapper's form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from arena.contracts import Answer, Attack, BudgetExhausted, InvalidQuery, Oracle, Task


@dataclass(frozen=True, kw_only=True)
class AttackWrapper(Attack):
    """``base`` is the attack that plays; the wrapper needs, and stops early for, what it does and what its base does."""

    base: Attack

    def __post_init__(self) -> None:
        # Class variables of an ordinary attack; here they belong to the instance, as they follow from the base.
        object.__setattr__(self, "needs", type(self).needs | self.base.needs)
        object.__setattr__(self, "stops_early", type(self).stops_early | self.base.stops_early)

    def min_budget(self, task: Task) -> int:
        return self.base.min_budget(task)


@dataclass(kw_only=True, eq=False)
class OracleView:
    """Another oracle, unchanged: views override what they change. ``remaining`` is in rows of whom they are for."""

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
        """Return the price of a call that a view splits or adds to, so that it is refused whole where it must be.

        Raises `InvalidQuery` for no rows, `BudgetExhausted` for more than remain.
        """
        price = len(inputs) * (1 + explain * self.explanation_price)
        if price == 0:
            raise InvalidQuery("a call asks at least one row")
        if price > self.remaining:
            raise BudgetExhausted(f"the call costs {price}, {self.remaining} are left", remaining=self.remaining)
        return price


@dataclass(kw_only=True, eq=False)
class TransformedOracle(OracleView):
    """Changes the released rows by ``transform``: (N, K) to (N, K). Refused rows stay zero."""

    transform: Callable[[Tensor], Tensor]

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        answer = super().query(inputs, explain=explain, account=account)
        rows = self.transform(answer.posteriors) * (~answer.refused).unsqueeze(1)
        return replace(answer, posteriors=rows)
