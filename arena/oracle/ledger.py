"""The ledger of a match: the checks that every ledger makes, and a ledger in memory, which is lost with its process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol

from arena.contracts import (
    Answer,
    BudgetExhausted,
    Ledger,
    MatchClosed,
    QueryBatch,
    RecordedCall,
    RequestConflict,
    Responder,
)
from arena.oracle.record import Call, PackedAnswer, Request
from arena.oracle.transcript import Transcript, transcript_of

OWNER_ALONE = 0o600  # the mode of files that only their owner may read: transcripts, secrets


class MatchLedger(Ledger, Protocol):
    """A ledger that can also return the whole transcript."""

    def transcript(self) -> Transcript:
        """Return what is recorded so far; after `close`, this is the transcript of the match."""


class MemoryLedger:
    """A ledger in memory, which is lost with its process. It answers and refuses exactly what `SqliteLedger` does."""

    def __init__(self, *, budget: int, attempt: int = 1) -> None:
        self._budget = budget
        self._attempt = attempt
        self._spent = 0
        self._digest: str | None = None
        self._calls: dict[tuple[bool, bytes], Call] = {}
        self._lock = threading.Lock()

    @property
    def remaining(self) -> int:
        return self._budget - self._spent

    def charge(
        self, request_id: bytes, queries: QueryBatch, respond: Responder, *, price: int, honest: bool = False
    ) -> Answer:
        """See `arena.contracts.Ledger`."""
        request = Request.of(request_id, queries, honest=honest)
        with self._lock:
            check_open(closed=self._digest is not None)
            known = self._calls.get((honest, request_id))
            if known is not None:
                check_same(request, known.request)
                return known.answer
            units = 0 if honest else price
            check_budget(units, remaining=self.remaining, budget=self._budget)
            answer = respond(queries)
            call = Call.to(request, answer, price=units)
            self._calls[honest, request_id] = call
            self._spent += units
            return PackedAnswer.of(answer, call)

    def calls(self) -> Iterator[RecordedCall]:
        """See `arena.contracts.Ledger`."""
        for call in tuple(self._calls.values()):
            yield RecordedCall(queries=call.queries, answer=call.answer, honest=call.honest)

    def transcript(self) -> Transcript:
        """See `MatchLedger`."""
        return transcript_of(self._calls.values(), budget=self._budget, attempt=self._attempt)

    def close(self) -> str:
        """See `arena.contracts.Ledger`."""
        with self._lock:
            if self._digest is None:
                self._digest = self.transcript().digest
            return self._digest


def check_open(*, closed: bool) -> None:
    """Raise `MatchClosed` if the match is over."""
    if closed:
        raise MatchClosed("the match is over, and its oracle answers no more queries")


def check_same(request: Request, known: Request) -> None:
    """Raise `RequestConflict` if a request id is used again with different content."""
    if request.content != known.content:
        raise RequestConflict(
            f"request id {request.id.hex()} was used before with different content; draw a fresh id for each call"
        )


def check_budget(price: int, *, remaining: int, budget: int) -> None:
    """Raise `BudgetExhausted` if a call costs more than what remains."""
    assert price >= 0, "a price is never negative"
    if price > remaining:
        raise BudgetExhausted(
            f"the call costs {price}, but only {remaining} of the query budget of {budget} are left",
            remaining=remaining,
        )
