"""The deployed defense with its answers checked: only rows on the simplex, rounded and explained as agreed, pass."""

from __future__ import annotations

import numpy as np
import torch

from arena.contracts import Answer, DefenseFault, Explainer, LedgerUnavailable, QueryBatch, Responder
from arena.oracle.interrupts import is_operators
from arena.oracle.terms import numbers
from arena.oracle.transcript import Call, Request

_SIMPLEX_TOLERANCE = 1e-4  # how far a released row's sum may be from 1


class Guard:
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
        if not same_queries(heard, queries):
            raise LedgerUnavailable("the call before could not be recorded: it is to be repeated first")
        return answer

    def mark_recorded(self, queries: QueryBatch) -> bool:
        """Return whether the ledger has this call for the first time."""
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
        except BaseException as error:  # also of an answer that is no Answer of tensors
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
        raise DefenseFault(f"the defense answered {found}, not float32 ({rows}, {classes}); the call was not charged")
    if refused.dtype != torch.bool or tuple(refused.shape) != (rows,):
        found = f"{refused.dtype} ({numbers(refused.shape)})"
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


def same_queries(expected: QueryBatch | None, recorded: QueryBatch) -> bool:
    return expected is recorded or (
        expected is not None
        and (expected.account, expected.explain) == (recorded.account, recorded.explain)
        and torch.equal(expected.inputs, recorded.inputs)
    )


def same_answer(queries: QueryBatch, answer: Answer, recorded: Answer) -> bool:
    request = Request.of(b"", queries, honest=False)
    return Call.to(request, answer, price=0) == Call.to(request, recorded, price=0)
