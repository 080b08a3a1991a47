"""The oracle for an attack in the same process, and the splitting into calls that it shares with the remote oracle."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from torch import Tensor

from arena.contracts import Answer, DeadlinePassed, QueryBatch, Task
from arena.learning.compact import plain
from arena.learning.release import gathered
from arena.oracle.ledger import check_budget
from arena.oracle.session import Session
from arena.oracle.terms import REQUEST_ID_BYTES, OracleTerms


def ask_in_calls(
    terms: OracleTerms,
    inputs: Tensor,
    *,
    explain: bool,
    account: int,
    remaining: int,
    time_left: Callable[[], float] | None,
    send: Callable[[bytes, QueryBatch], Answer],
) -> Answer:
    """Send ``inputs`` in calls of at most ``terms.max_rows`` rows, each under a fresh request id, and join the answers.

    Everything that can be checked beforehand is checked before the first call is sent, so that a query is refused as a
    whole. Raises `InvalidQuery`, `BudgetExhausted`, and `DeadlinePassed` once ``time_left`` returns 0 or less.
    """
    whole = QueryBatch(inputs=inputs, account=account, explain=explain)
    terms.check(whole)
    check_budget(terms.price(len(inputs), explain=explain), remaining=remaining, budget=terms.budget)

    def answered(rows: Tensor) -> Answer:
        if time_left is not None and time_left() <= 0:
            raise DeadlinePassed("the attack's time is over; no more queries are sent")
        call = QueryBatch(inputs=plain(rows), account=account, explain=explain)
        return send(secrets.token_bytes(REQUEST_ID_BYTES), call)

    return gathered(map(answered, inputs.detach().split(terms.max_rows)), rows=len(inputs))


class LocalOracle:
    """A session as an attack sees it. This is not a security boundary: use it for tests and for code that you trust.

    ``time_left`` returns the seconds that the attack has left.
    """

    def __init__(self, session: Session, *, time_left: Callable[[], float] | None = None) -> None:
        self._session = session
        self._time_left = time_left

    @property
    def task(self) -> Task:
        return self._session.terms.task

    @property
    def accounts(self) -> int:
        return self._session.terms.accounts

    @property
    def explanation(self) -> str | None:
        return self._session.terms.explanation

    @property
    def explanation_price(self) -> int:
        return self._session.terms.explanation_price

    @property
    def remaining(self) -> int:
        return self._session.remaining

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        """See `arena.contracts.Oracle`."""
        return ask_in_calls(
            self._session.terms,
            inputs,
            explain=explain,
            account=account,
            remaining=self.remaining,
            time_left=self._time_left,
            send=self._send,
        )

    def _send(self, request_id: bytes, queries: QueryBatch) -> Answer:
        """Query the session, and copy the answer: what the attack does to its tensors must not reach the defense."""
        answer = self._session.query(request_id, queries)
        explained = answer.explanations
        return Answer(
            posteriors=answer.posteriors.clone(),
            refused=answer.refused.clone(),
            explanations=None if explained is None else explained.clone(),
        )
