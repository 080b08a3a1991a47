"""The open oracle of one match: validates queries, releases answers, interleaves honest traffic, records everything."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from arena.contracts import (
    Answer,
    BadParameter,
    DefenseFault,
    Explainer,
    InvalidQuery,
    LedgerCorrupt,
    MatchClosed,
    QueryBatch,
    Responder,
)
from arena.learning.tensors import canonical
from arena.oracle.guard import Guard, same_answer, same_queries
from arena.oracle.honest import HonestQueue, HonestScript
from arena.oracle.ledger import MatchLedger
from arena.oracle.terms import REQUEST_ID_BYTES, OracleTerms
from arena.oracle.transcript import PackedBatch, Transcript


class Session:
    """The oracle of one match, between attack, defense, honest users and ledger; may be called from any thread.

    ``responder`` is fresh from ``Defense.deploy``. If ``ledger`` has calls already (a restart), they are replayed
    through it and compared with the record, and the honest script goes on where it stood. ``account_numbers[k]`` is
    the number under which the defense sees the attack's account k. ``decimals`` rounds released rows. Explanations
    that the defense leaves out are the ``explainer``'s, of the released argmax.

    Raises `LedgerCorrupt` if the defense answers otherwise than it is recorded.
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
    ) -> None:
        self.terms = terms
        self._account_numbers = tuple(range(terms.accounts) if account_numbers is None else account_numbers)
        if len(self._account_numbers) != terms.accounts:
            raise BadParameter(f"{terms.accounts} accounts need as many numbers, not {len(self._account_numbers)}")
        if terms.explanation is not None and explainer is None:
            raise BadParameter(f"explanation {terms.explanation} needs an explainer for defenses that give none")
        self._guard = Guard(responder, classes=terms.task.classes, explainer=explainer, decimals=decimals)
        self._ledger = ledger
        self._honest = HonestQueue(honest)
        self._closing = False
        self._transcript: Transcript | None = None
        self._fault: DefenseFault | None = None
        self._lock = threading.RLock()
        self._replay()

    @property
    def remaining(self) -> int:
        """Units of the budget that are left."""
        return self._ledger.remaining

    @property
    def fault(self) -> DefenseFault | None:
        """What the defense did that ended the match; its ``__cause__`` is the defense's own error."""
        return self._fault

    @property
    def honest_waits(self) -> bool:
        """Whether honest calls stand before the next query."""
        return self._honest.due is not None

    @property
    def unanswered(self) -> tuple[QueryBatch, ...]:
        """The honest calls that the defense did not answer, known once the session is closed."""
        return tuple(self._honest.waiting) if self._transcript is not None else ()

    def query(self, request_id: bytes, queries: QueryBatch) -> Answer:
        """Answer one call of the attack under its own account, after the honest calls that stand before it.

        Raises every `QueryRefused`, `DefenseFault` from the first fault on, and `LedgerUnavailable`; nothing is
        charged then. The same ``request_id`` with the same content gets the recorded answer.
        """
        if len(request_id) != REQUEST_ID_BYTES:
            raise InvalidQuery(f"a request id has {REQUEST_ID_BYTES} bytes, not {len(request_id)}")
        self.terms.check(queries)
        self.terms.check_size(len(queries.inputs))
        inputs = queries.inputs if isinstance(queries, PackedBatch) else canonical(queries.inputs)
        seen = replace(queries, inputs=inputs, account=self._account_numbers[queries.account])
        with self._lock:
            self._check_open()
            self.play_honest()
            self._check_open()
            return self._charge(request_id, seen, price=self.terms.price(len(seen.inputs), explain=seen.explain))

    def play_honest(self) -> None:
        """Answer the honest calls that stand before the next query; a fault of the defense is kept, not raised."""
        with self._lock:
            while self._fault is None and self._honest.due is not None:
                try:
                    self._charge(self._honest.request_id, self._honest.due, price=0, honest=True)
                except DefenseFault:
                    return

    def close(self) -> Transcript:
        """Refuse queries from now on, play the rest of the honest traffic, close the ledger.

        Closing twice is closing once. Raises `LedgerUnavailable` (it can be closed again later) and `LedgerCorrupt`.
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
            raise MatchClosed("the match is over: its oracle answers no more")

    def _charge(self, request_id: bytes, queries: QueryBatch, *, price: int, honest: bool = False) -> Answer:
        try:
            answer = self._ledger.charge(request_id, queries, self._guard, price=price, honest=honest)
        except DefenseFault as fault:
            self._fault = fault
            raise
        fresh = self._guard.mark_recorded(queries)
        self._advance(queries, honest=honest, fresh=fresh)
        return answer

    def _advance(self, queries: QueryBatch, *, honest: bool, fresh: bool = True) -> None:
        """Move the honest traffic past a recorded call; a repeated one was followed by its honest calls before."""
        if honest:
            self._honest.answered()
        elif fresh:
            self._honest.follow(len(queries.inputs))

    def _replay(self) -> None:
        """Bring responder and honest traffic to where the ledger's calls left them."""
        for number, call in enumerate(self._ledger.calls()):
            if call.honest and self._honest.due is None:
                self._honest.finish()
                self._closing = True
            if call.honest and not same_queries(self._honest.due, call.queries):
                raise LedgerCorrupt(f"call {number} is not the honest call that the match seed gives there")
            if not same_answer(call.queries, self._guard(call.queries), call.answer):
                raise LedgerCorrupt(f"call {number}: the defense answers otherwise than it is recorded")
            self._guard.mark_recorded(call.queries)
            self._advance(call.queries, honest=call.honest)
