"""Checks what a deployed defense answers: only rows on the simplex, rounded and explained as agreed, are released."""

from __future__ import annotations

import numpy as np
import torch

from arena.contracts import Answer, DefenseFault, Explainer, LedgerUnavailable, QueryBatch, Responder
from arena.oracle.interrupts import is_operators
from arena.oracle.meter import Meter
from arena.oracle.record import Call, Request
from arena.oracle.terms import numbers

_SIMPLEX_TOLERANCE = 1e-4  # how far a released row's sum may be from 1


class Guard:
    """A responder whose answers are checked before release: float32 on the simplex, rounded, explained on request."""

    def __init__(
        self,
        responder: Responder,
        *,
        classes: int,
        explainer: Explainer | None,
        decimals: int | None,
        meter: Meter | None = None,
    ) -> None:
        self._responder = responder
        self._classes = classes
        self._explainer = explainer
        self._decimals = decimals
        self._meter = meter or Meter()
        self._unrecorded: tuple[QueryBatch, Answer] | None = None

    def __call__(self, queries: QueryBatch) -> Answer:
        """Return the answer that may be released. Raises `DefenseFault`.

        The responder sees each call once. If the ledger could not record an answer, the same call gets that answer
        again, and any other call is refused until then: otherwise the responder's state would differ from the record.
        """
        if self._unrecorded is None:
            with self._meter.answering():
                self._unrecorded = queries, self._released(queries)
        answered, answer = self._unrecorded
        if not same_queries(answered, queries):
            raise LedgerUnavailable("the previous call could not be recorded; repeat it before any other call")
        return answer

    def mark_recorded(self, queries: QueryBatch) -> bool:
        """Note that the ledger has this call, and return whether it is a new one and not a repeated request."""
        fresh = self._unrecorded is not None and same_queries(self._unrecorded[0], queries)
        if fresh:
            self._unrecorded = None
        return fresh

    def _released(self, queries: QueryBatch) -> Answer:
        try:
            answer = self._responder(queries)
            check_answer(answer, rows=len(queries.inputs), classes=self._classes)
        except DefenseFault:
            raise
        except BaseException as error:  # check_answer raises too, for an answer that is not an Answer of tensors
            if is_operators(error):
                raise
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
        found = f"{posteriors.dtype} ({numbers(posteriors.shape)})"
        raise DefenseFault(
            f"the defense returned posteriors of type {found}, not torch.float32 ({rows}, {classes}); "
            "the call was not charged"
        )
    if refused.dtype != torch.bool or tuple(refused.shape) != (rows,):
        found = f"{refused.dtype} ({numbers(refused.shape)})"
        raise DefenseFault(
            f"the defense returned refusals of type {found}, not torch.bool ({rows}); the call was not charged"
        )
    released, none = posteriors.detach().cpu().numpy(), refused.cpu().numpy()  # NumPy takes a tenth of torch's time
    excess = np.abs(released.sum(axis=1) - ~none)
    on = excess.max() <= _SIMPLEX_TOLERANCE and released.min() >= 0  # both comparisons are false for NaN
    if not on or (none.any() and excess[none].any()):
        raise DefenseFault(
            "the defense returned a row that is not finite or not on the simplex; the call was not charged"
        )
    explained = answer.explanations
    if explained is not None and (
        explained.dtype != torch.float32 or len(explained) != rows or not bool(explained.isfinite().all())
    ):
        raise DefenseFault(
            "the defense returned explanations that are not finite float32 maps, one per row; the call was not charged"
        )


def same_queries(expected: QueryBatch | None, recorded: QueryBatch) -> bool:
    """Return whether two calls have the same account, explain flag and inputs."""
    return expected is recorded or (
        expected is not None
        and (expected.account, expected.explain) == (recorded.account, recorded.explain)
        and torch.equal(expected.inputs, recorded.inputs)
    )


def same_answer(queries: QueryBatch, answer: Answer, recorded: Answer) -> bool:
    """Return whether two answers to the same call are equal byte for byte, as they would be recorded."""
    request = Request.of(b"", queries, honest=False)
    return Call.to(request, answer, price=0) == Call.to(request, recorded, price=0)
