"""The interfaces behind which services live: a ledger, a runner of matches, a tracker of results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from arena.contracts.matchup import MatchResult, Matchup
from arena.contracts.query import Answer, QueryBatch, RecordedCall, Responder


class Ledger(Protocol):
    """Records every call and what it cost: check, answer, record and commit are one transaction.

    A repeated request id gets its stored answer and is charged once.
    """

    @property
    def remaining(self) -> int: ...

    def charge(
        self, request_id: bytes, queries: QueryBatch, respond: Responder, *, price: int, honest: bool = False
    ) -> Answer:
        """Record one call: ``price`` units when it is the attack's, none when ``honest``.

        Raises `BudgetExhausted`, `MatchClosed`, `RequestConflict` (same id, other content), `LedgerUnavailable`
        (cannot write), and whatever ``respond`` raises; in each case nothing is charged.
        """

    def calls(self) -> Iterator[RecordedCall]:
        """All calls in recorded order."""

    def close(self) -> str:
        """Charge nothing from now on and return the transcript digest; closing twice is the same as closing once."""


class Runner(Protocol):
    """Plays matches, in this process or on Ray. It never retries: the referee submits the next attempt."""

    @property
    def slots(self) -> int: ...

    def submit(self, matchup: Matchup, *, attempt: int) -> None: ...

    def advance(self, *, timeout: float) -> Iterator[MatchResult]:
        """Play on for up to ``timeout`` seconds or until matches end, and give the results of those that did."""

    def close(self) -> None:
        """End every process that it started."""


class Tracker(Protocol):
    """Records results that are already on disk, so it may fail without harm; recording a result twice is recording it once."""

    def start(self, tournament: str, config: str) -> None: ...

    def record(self, result: MatchResult) -> None: ...

    def close(self) -> None: ...
