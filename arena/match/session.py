"""One match's open oracle: what it takes, what it lets out, and the order in which honest users are served."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from arena.contracts import (
    Answer,
    BadParameter,
    DefenseFault,
    Explainer,
    InvalidQuery,
    LedgerCorrupt,
    LedgerUnavailable,
    MatchClosed,
    QueryBatch,
    QueryTooLarge,
    Responder,
    Task,
)
from arena.learning.tensors import canonical
from arena.match.ledger import MatchLedger
from arena.match.transcript import Call, PackedBatch, Request, Transcript

MAX_ROWS = 256
"""Rows in one call, everywhere: local and remote oracles then see the same calls."""

REQUEST_ID_BYTES = 16

_SIMPLEX_TOLERANCE = 1e-4  # how far a released row's sum may be from 1


class HonestScript(Protocol):
    """What ordinary users send during a match, determined by the match seed; one object plays one match once.

    The batches carry the account numbers that the defense sees, and follow from the rows of the attack's calls alone:
    a fresh script that is told the same rows gives the same traffic, so that a match can be rebuilt.
    """

    def after(self, rows: int) -> Sequence[QueryBatch]:
        """The calls that stand right after an attack call of ``rows`` rows."""

    def rest(self) -> Sequence[QueryBatch]:
        """The calls that are left when the attack is over; asked once."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What an attack is told of its oracle."""

    task: Task
    budget: int
    accounts: int = 1
    explanation: str | None = None
    explanation_price: int = 1  # extra units per explained row
    max_rows: int = MAX_ROWS  # in one call

    def price(self, rows: int, *, explain: bool) -> int:
        """Return what a call costs, in units of the budget."""
        return rows * (1 + self.explanation_price) if explain else rows

    def check(self, queries: QueryBatch) -> None:
        """Raise `InvalidQuery` if the oracle does not take such inputs; how many, `check_size` says."""
        inputs = queries.inputs
        if not isinstance(inputs, Tensor) or inputs.dtype != torch.float32:
            raise InvalidQuery(f"inputs are a float32 tensor, not {getattr(inputs, 'dtype', type(inputs).__name__)}")
        if tuple(inputs.shape[1:]) != self.task.shape or inputs.dim() != 1 + len(self.task.shape):
            raise InvalidQuery(f"inputs have shape (N, {_numbers(self.task.shape)}), not ({_numbers(inputs.shape)})")
        if len(inputs) == 0:
            raise InvalidQuery("a call asks at least one row")
        if not 0 <= queries.account < self.accounts:
            raise InvalidQuery(f"accounts are 0 to {self.accounts - 1}, there is no account {queries.account}")
        if queries.explain and self.explanation is None:
            raise InvalidQuery("this oracle gives no explanations")
        if isinstance(queries, PackedBatch):
            return  # it came as k/255
        low, high = (float(end) for end in inputs.aminmax())  # both are NaN if one value is
        if not (low >= 0 and high <= 1):
            raise InvalidQuery(f"inputs are finite and in [0, 1]; these go from {low:g} to {high:g}")

    def check_size(self, rows: int) -> None:
        """Raise `QueryTooLarge` if a call has more rows than the oracle takes at once."""
        if rows > self.max_rows:
            raise QueryTooLarge(f"{rows} rows in one call, at most {self.max_rows} are taken")


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
        *,
        task: Task,
        responder: Responder,
        ledger: MatchLedger,
        budget: int,
        accounts: int = 1,
        account_numbers: Sequence[int] | None = None,
        explanation: str | None = None,
        explanation_price: int = 1,
        explainer: Explainer | None = None,
        decimals: int | None = None,
        max_rows: int = MAX_ROWS,
        honest: HonestScript | None = None,
    ) -> None:
        self.terms = Terms(
            task=task,
            budget=budget,
            accounts=accounts,
            explanation=explanation,
            explanation_price=explanation_price,
            max_rows=max_rows,
        )
        self._account_numbers = tuple(range(accounts) if account_numbers is None else account_numbers)
        if len(self._account_numbers) != accounts:
            raise BadParameter(f"{accounts} accounts need as many numbers, not {len(self._account_numbers)}")
        if explanation is not None and explainer is None:
            raise BadParameter(f"explanation {explanation} needs an explainer for defenses that give none")
        self._guard = _Guard(responder, classes=task.classes, explainer=explainer, decimals=decimals)
        self._ledger = ledger
        self._honest = _HonestTraffic(honest)
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
        fresh = self._guard.recorded(queries)
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
        for number, (queries, recorded, honest) in enumerate(self._ledger.calls()):
            if honest and self._honest.due is None:
                self._honest.finish()
                self._closing = True
            if honest and not _same_queries(self._honest.due, queries):
                raise LedgerCorrupt(f"call {number} is not the honest call that the match seed gives there")
            if not _same_answer(queries, self._guard(queries), recorded):
                raise LedgerCorrupt(f"call {number}: the defense answers otherwise than it is recorded")
            self._guard.recorded(queries)
            self._advance(queries, honest=honest)


class _HonestTraffic:
    """The honest calls of a script, in order; numbered, so that a repeated one is known to the ledger."""

    def __init__(self, script: HonestScript | None) -> None:
        self._script = script
        self._finished = False
        self._number = 0
        self.waiting: deque[QueryBatch] = deque()

    @property
    def due(self) -> QueryBatch | None:
        return self.waiting[0] if self.waiting else None

    @property
    def request_id(self) -> bytes:
        return self._number.to_bytes(REQUEST_ID_BYTES, "little")

    def answered(self) -> None:
        self.waiting.popleft()
        self._number += 1

    def follow(self, rows: int) -> None:
        if self._script is not None:
            self.waiting.extend(self._script.after(rows))

    def finish(self) -> None:
        if self._script is not None and not self._finished:
            self.waiting.extend(self._script.rest())
        self._finished = True


class _Guard:
    """The responder with its answers judged: what passes is float32 on the simplex, rounded, explained if asked."""

    def __init__(
        self, responder: Responder, *, classes: int, explainer: Explainer | None, decimals: int | None
    ) -> None:
        self._responder = responder
        self._classes = classes
        self._explainer = explainer
        self._decimals = decimals
        self._unrecorded: tuple[QueryBatch, Answer] | None = None

    def __call__(self, queries: QueryBatch) -> Answer:
        """Return what may be released. Raises `DefenseFault`.

        The responder hears each call once: if the ledger could not record an answer, the same call gets it again and
        any other one waits, or the responder's state would not be that of the record.
        """
        if self._unrecorded is None:
            self._unrecorded = queries, self._released(queries)
        heard, answer = self._unrecorded
        if not _same_queries(heard, queries):
            raise LedgerUnavailable("the call before could not be recorded: it is to be repeated first")
        return answer

    def recorded(self, queries: QueryBatch) -> bool:
        """Return whether the ledger has this call for the first time."""
        fresh = self._unrecorded is not None and _same_queries(self._unrecorded[0], queries)
        if fresh:
            self._unrecorded = None
        return fresh

    def _released(self, queries: QueryBatch) -> Answer:
        try:
            answer = self._responder(queries)
            check_answer(answer, rows=len(queries.inputs), classes=self._classes)
        except DefenseFault:
            raise
        except (Exception, SystemExit) as error:  # also of an answer that is no Answer of tensors
            raise DefenseFault(f"the defense raised {type(error).__name__}; the call was not charged") from error
        posteriors = answer.posteriors.detach().cpu()
        if self._decimals is not None:
            posteriors = posteriors.round(decimals=self._decimals)
        explanations = answer.explanations if queries.explain else None
        if queries.explain and explanations is None and self._explainer is not None:
            explanations = self._explainer(queries.inputs, posteriors.argmax(dim=1))
            explanations = explanations * ~answer.refused.reshape(-1, *[1] * (explanations.dim() - 1))
        return Answer(posteriors=posteriors, refused=answer.refused.cpu(), explanations=explanations)


def check_answer(answer: Answer, *, rows: int, classes: int) -> None:
    """Raise `DefenseFault` unless each row is on the simplex (sum within 1e-4 of 1), or refused and all zeros."""
    posteriors, refused = answer.posteriors, answer.refused
    if posteriors.dtype != torch.float32 or tuple(posteriors.shape) != (rows, classes):
        found = f"{posteriors.dtype} ({_numbers(posteriors.shape)})"
        raise DefenseFault(f"the defense answered {found}, not float32 ({rows}, {classes}); the call was not charged")
    if refused.dtype != torch.bool or tuple(refused.shape) != (rows,):
        found = f"{refused.dtype} ({_numbers(refused.shape)})"
        raise DefenseFault(f"the defense refused {found}, not bool ({rows}); the call was not charged")
    released, none = posteriors.detach().cpu().numpy(), refused.cpu().numpy()  # a tenth of torch's time for one row
    excess = np.abs(released.sum(axis=1) - ~none)
    on = excess.max() <= _SIMPLEX_TOLERANCE and released.min() >= 0  # NaN is neither
    if not on or (none.any() and excess[none].any()):
        raise DefenseFault("the defense answered a row off the simplex or not finite; the call was not charged")
    explained = answer.explanations
    if explained is not None and (
        explained.dtype != torch.float32 or len(explained) != rows or not bool(explained.isfinite().all())
    ):
        raise DefenseFault(
            "the defense explained with maps that are not finite float32, one a row; nothing was charged"
        )


def _same_queries(expected: QueryBatch | None, recorded: QueryBatch) -> bool:
    return expected is recorded or (
        expected is not None
        and (expected.account, expected.explain) == (recorded.account, recorded.explain)
        and torch.equal(expected.inputs, recorded.inputs)
    )


def _same_answer(queries: QueryBatch, answer: Answer, recorded: Answer) -> bool:
    request = Request.of(b"", queries, honest=False)
    return Call.to(request, answer, price=0) == Call.to(request, recorded, price=0)


def _numbers(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))
