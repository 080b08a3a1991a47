"""The open oracle of one match: validates queries, releases answers, interleaves honest traffic, records everything."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from arena.contracts import (
    Answer,
    ArenaError,
    BadParameter,
    DefenseFault,
    Explainer,
    InvalidQuery,
    LedgerCorrupt,
    MatchClosed,
    MeasureName,
    QueryBatch,
    Responder,
)
from arena.learning.tensors import canonical
from arena.oracle.guard import Guard, same_answer, same_queries
from arena.oracle.honest import HonestQueue, HonestScript
from arena.oracle.ledger import MatchLedger
from arena.oracle.meter import Meter
from arena.oracle.record import PackedBatch
from arena.oracle.terms import REQUEST_ID_BYTES, OracleTerms
from arena.oracle.transcript import Transcript


class Session:
    """The oracle of one match, which connects attack, defense, honest users and ledger. Any thread may call it.

    ``responder`` is fresh from ``Defense.deploy``. If ``ledger`` already has calls, because the server was restarted,
    they are replayed through the responder and compared with the record, and the honest script continues from there.
    ``account_numbers[k]`` is the number under which the defense sees the attack's account k. ``decimals`` rounds
    released rows. If the defense returns no explanations, ``explainer`` explains the class with the largest released
    posterior. ``facts`` returns what the defense has stated about itself so far. Everything is counted in ``meter``.

    Raises `LedgerCorrupt` if a replayed answer differs from the recorded one.
    """

    def __init__(
        self,
        terms: OracleTerms,
        *,
        responder: Responder,
        ledger: MatchLedger,
        account_numbers: Sequence[int] | None = None,
        explainer: Explainer | None = None,
        decimals: int | None = None,
        honest: HonestScript | None = None,
        facts: Callable[[], Mapping[MeasureName, float]] = dict,
        meter: Meter | None = None,
    ) -> None:
        self.terms = terms
        self.facts = facts
        self._account_numbers = tuple(range(terms.accounts) if account_numbers is None else account_numbers)
        if len(self._account_numbers) != terms.accounts:
            raise BadParameter(
                f"account_numbers has {len(self._account_numbers)} numbers for {terms.accounts} accounts; give one for "
                "each account"
            )
        if terms.explanation is not None and explainer is None:
            raise BadParameter(
                f"explanation {terms.explanation} needs an explainer, for defenses that return no explanations"
            )
        self._meter = meter or Meter()
        self._guard = Guard(
            responder, classes=terms.task.classes, explainer=explainer, decimals=decimals, meter=self._meter
        )
        self._ledger = ledger
        self._honest = HonestQueue(honest)
        self._closing = False
        self._transcript: Transcript | None = None
        self._fault: DefenseFault | None = None
        self._honest_seconds = array("d")
        self._lock = threading.RLock()
        self._replay()

    @property
    def remaining(self) -> int:
        """Units of the budget that are left."""
        return self._ledger.remaining

    @property
    def fault(self) -> DefenseFault | None:
        """The fault of the defense that ended the match, or None; its ``__cause__`` is the defense's own error."""
        return self._fault

    @property
    def honest_waits(self) -> bool:
        """Whether honest calls must be answered before the next query."""
        return self._honest.due is not None

    @property
    def honest_seconds(self) -> Sequence[float]:
        """How long each honest call took to be answered and recorded, in order, without those before a restart."""
        return self._honest_seconds

    @property
    def unanswered(self) -> tuple[QueryBatch, ...]:
        """The honest calls that the defense did not answer; empty until the session is closed."""
        return tuple(self._honest.waiting) if self._transcript is not None else ()

    def query(self, request_id: bytes, queries: QueryBatch) -> Answer:
        """Answer one call of the attack, after the honest calls that are due before it.

        Raises every kind of `QueryRefused`, `DefenseFault` from the first fault on, and `LedgerUnavailable`; in each
        case nothing is charged. The same ``request_id`` with the same content gets the recorded answer.
        """
        try:
            return self._query(request_id, queries)
        except ArenaError as error:
            self._meter.refused(error)
            raise

    def _query(self, request_id: bytes, queries: QueryBatch) -> Answer:
        if len(request_id) != REQUEST_ID_BYTES:
            raise InvalidQuery(f"a request id must have {REQUEST_ID_BYTES} bytes, not {len(request_id)}")
        self.terms.check(queries)
        self.terms.check_size(len(queries.inputs))
        inputs = queries.inputs if isinstance(queries, PackedBatch) else canonical(queries.inputs)
        seen = replace(queries, inputs=inputs, account=self._account_numbers[queries.account])
        with self._meter.turn(self._lock):
            self._check_open()
            self.play_honest()
            self._check_open()
            return self._charge(request_id, seen, price=self.terms.price(len(seen.inputs), explain=seen.explain))

    def play_honest(self) -> None:
        """Answer the honest calls that are due before the next query; a fault of the defense is stored, not raised."""
        with self._lock:
            while self._fault is None and self._honest.due is not None:
                start = time.perf_counter()
                try:
                    self._charge(self._honest.request_id, self._honest.due, price=0, honest=True)
                except DefenseFault:
                    return
                self._honest_seconds.append(time.perf_counter() - start)

    def close(self) -> Transcript:
        """Refuse queries from now on, answer the rest of the honest traffic, and close the ledger.

        Closing again returns the same transcript. Raises `LedgerCorrupt`, and `LedgerUnavailable`, after which closing
        can be tried again.
        """
        self._closing = True
        with self._lock:
            if self._transcript is None:
                self._honest.finish()
                self.play_honest()
                self._ledger.close()
                self._transcript = self._ledger.transcript()
            return self._transcript

    def _check_open(self) -> None:
        if self._fault is not None:
            raise DefenseFault(str(self._fault)) from self._fault
        if self._closing:
            raise MatchClosed("the match is over, and its oracle answers no more queries")

    def _charge(self, request_id: bytes, queries: QueryBatch, *, price: int, honest: bool = False) -> Answer:
        start = time.perf_counter()
        try:
            answer = self._ledger.charge(request_id, queries, self._guard, price=price, honest=honest)
        except DefenseFault as fault:
            self._fault = fault
            raise
        fresh = self._guard.mark_recorded(queries)
        if fresh:
            self._meter.charged(len(queries.inputs), honest=honest, seconds=time.perf_counter() - start)
        self._advance(queries, honest=honest, fresh=fresh)
        return answer

    def _advance(self, queries: QueryBatch, *, honest: bool, fresh: bool = True) -> None:
        """Move the honest traffic past a recorded call; the honest calls after a repeated one have come already."""
        if honest:
            self._honest.answered()
        elif fresh:
            self._honest.follow(len(queries.inputs))

    def _replay(self) -> None:
        """Bring the responder and the honest traffic to the state after the ledger's calls."""
        for number, call in enumerate(self._ledger.calls()):
            if call.honest and self._honest.due is None:
                self._honest.finish()
                self._closing = True
            if call.honest and not same_queries(self._honest.due, call.queries):
                raise LedgerCorrupt(f"recorded call {number} is not the honest call that the match seed gives here")
            if not same_answer(call.queries, self._guard(call.queries), call.answer):
                raise LedgerCorrupt(f"the defense's answer to call {number} differs from the recorded answer")
            self._guard.mark_recorded(call.queries)
            self._advance(call.queries, honest=call.honest)
