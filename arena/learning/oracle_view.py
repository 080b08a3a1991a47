"""An oracle in front of another one, for whoever changes or watches what passes through."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from arena.contracts import Answer, BudgetExhausted, InvalidQuery, Oracle, Task


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
