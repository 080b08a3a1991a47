"""An oracle that is served once more, to a player that reaches nothing else: the same answers, behind request ids."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from arena.contracts import Answer, InvalidQuery, Oracle, QueryBatch, RequestConflict
from arena.oracle.record import Request
from arena.oracle.terms import REQUEST_ID_BYTES, OracleTerms

KEPT_ANSWERS = 32  # of the latest calls, for a client whose connection broke before it got the answer


@dataclass(frozen=True, kw_only=True)
class _Answered:
    content: str
    answer: Answer


class RelayedSession:
    """Serves an oracle as a `Session` serves a responder; any thread may call it. The oracle does the charging."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.terms = OracleTerms(
            task=oracle.task,
            budget=oracle.remaining,
            accounts=oracle.accounts,
            explanation=oracle.explanation,
            explanation_price=oracle.explanation_price,
        )
        self._answered: OrderedDict[bytes, _Answered] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def remaining(self) -> int:
        return self._oracle.remaining

    @property
    def honest_waits(self) -> bool:
        """Always false: honest users ask the oracle itself."""
        return False

    def play_honest(self) -> None:
        """Do nothing."""

    def query(self, request_id: bytes, queries: QueryBatch) -> Answer:
        """Ask the oracle, unless the same request was answered lately; raises what the oracle raises."""
        if len(request_id) != REQUEST_ID_BYTES:
            raise InvalidQuery(f"a request id must have {REQUEST_ID_BYTES} bytes, not {len(request_id)}")
        self.terms.check(queries)
        self.terms.check_size(len(queries.inputs))
        content = Request.of(request_id, queries, honest=False).content
        with self._lock:
            known = self._answered.get(request_id)
            if known is not None and known.content != content:
                raise RequestConflict("this request id was used before with different content")
            if known is None:
                answer = self._oracle.query(queries.inputs, explain=queries.explain, account=queries.account)
                known = self._answered[request_id] = _Answered(content=content, answer=answer)
                if len(self._answered) > KEPT_ANSWERS:
                    self._answered.popitem(last=False)
            return known.answer
