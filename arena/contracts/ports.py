"""The interfaces of services: ledgers, runners of matches, and trackers of results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from arena.contracts.matchup import MatchResult, Matchup
from arena.contracts.query import Answer, QueryBatch, RecordedCall, Responder


class Ledger(Protocol):
    """Records every call and what it cost; checking, answering, recording and committing a call are one transaction.

    A repeated request id gets the stored answer and is charged once.
    """

    @property
    def remaining(self) -> int: ...

    def charge(
        self, request_id: bytes, queries: QueryBatch, respond: Responder, *, price: int, honest: bool = False
    ) -> Answer:
        """Answer and record one call, and charge ``price`` units, or none if it is ``honest``.

        Raises `BudgetExhausted`, `MatchClosed`, `RequestConflict` if the id was used with different content,
        `LedgerUnavailable` if the ledger cannot be written, and whatever ``respond`` raises. In each case nothing is
        charged.
        """

    def calls(self) -> Iterator[RecordedCall]:
        """Yield all calls in recorded order."""

    def close(self) -> str:
        """Refuse calls from now on, and return the transcript digest; closing again returns the same digest."""


class Runner(Protocol):
    """Plays matches, in this process or on Ray. A runner never retries; the referee submits the next attempt."""

    @property
    def slots(self) -> int: ...

    def submit(self, matchup: Matchup, *, attempt: int) -> None: ...

    def advance(self, *, timeout: float) -> Iterator[MatchResult]:
        """Continue for up to ``timeout`` seconds or until matches end, and yield the results of those that ended."""

    def close(self) -> None:
        """End every process that the runner started."""


class Tracker(Protocol):
    """Records results that are already on disk, so that it may fail without harm; a result is recorded once at most."""

    def start(self, tournament: str, config: str) -> None: ...

    def record(self, result: MatchResult) -> None: ...

    def close(self) -> None: ...
