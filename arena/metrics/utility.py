"""What honest users get from a defended oracle, and where a defense breaks what it promised."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from arena.contracts import Promise
from arena.metrics.fidelity import agreement, labels_of

CHANGED = 1e-3  # L1 shift from which a row counts as changed
ONE_HOT = 1 - 1e-6
BINS = 15
SMALLEST_PROBABILITY = 1e-12
L1_SLACK = 1e-5  # for float32 rounding of released rows


@dataclass(frozen=True, kw_only=True)
class Utility:
    """Counts as (hits, total) and means over honest rows."""

    counts: dict[str, tuple[int, int]]
    measures: dict[str, float]


def utility(*, released: Tensor, refused: Tensor, clean: Tensor, labels: Tensor) -> Utility:
    """Compare released with clean posteriors (N, K) on honest rows with labels (N,).

    A refused row counts as a wrong decision; the probabilities are measured on the rows that were answered.
    """
    answered = ~refused
    decided, clean_decided = labels_of(released), labels_of(clean)
    total = len(labels)
    counts = {
        "kept": (int(((decided == clean_decided) & answered).sum()), total),
        "accuracy": (int(((decided == labels) & answered).sum()), total),
        "clean_accuracy": agreement(clean_decided, labels),
        "refused": (int(refused.sum()), total),
    }
    measures = {}
    if bool(answered.any()):
        rows, truth, honest = released[answered].double(), labels[answered], clean[answered].double()
        shift = (rows - honest).abs().sum(dim=1)
        counts["changed"] = (int((shift > CHANGED).sum()), len(rows))
        counts["one_hot"] = (int((rows.amax(dim=1) >= ONE_HOT).sum()), len(rows))
        measures = {
            "l1": float(shift.mean()),
            "l1_max": float(shift.max()),
            "ece": calibration_error(rows, truth),
            "ece_clean": calibration_error(honest, truth),
            "brier_cost": brier_score(rows, truth) - brier_score(honest, truth),
            "log_loss": float(-rows.gather(1, truth.unsqueeze(1)).clamp(min=SMALLEST_PROBABILITY).log().mean()),
        }
    return Utility(counts=counts, measures=measures)


def brier_score(posteriors: Tensor, labels: Tensor) -> float:
    """Return the mean squared distance of rows (N, K) to the one-hot truth, in [0, 2]."""
    truth = torch.nn.functional.one_hot(labels, posteriors.shape[1])
    return float((posteriors.double() - truth).square().sum(dim=1).mean())


def calibration_error(posteriors: Tensor, labels: Tensor, *, bins: int = BINS) -> float:
    """Return the expected calibration error: equal-width bins of the largest posterior, the last one closed at 1."""
    confidence = posteriors.double().amax(dim=1)
    hits = (labels_of(posteriors) == labels).double()
    place = (confidence * bins).long().clamp(max=bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, hits - confidence)
    return float(gaps.abs().sum() / len(labels))


def broken_promises(
    promise: Promise, *, clean: Tensor, released: Tensor, refused: Tensor, decimals: int | None
) -> dict[str, tuple[int, int]]:
    """Return for each promise made (broken, answered rows); it is counted, never repaired.

    A kept argmax is the undefended victim's, ties by the lowest index. Rounding by the oracle is no breach: with
    ``decimals`` the L1 bound has a slack of K * 10^-decimals, and the argmax may tie, which is all that rounding can
    do to a larger number.
    """
    answered = ~refused
    rows, honest = released[answered].double(), clean[answered].double()
    counts: dict[str, tuple[int, int]] = {}
    if promise.argmax:
        decided = labels_of(honest)
        lost = labels_of(rows) != decided
        if decimals is not None:
            lost = rows.gather(1, decided.unsqueeze(1)).squeeze(1) < rows.amax(dim=1)
        counts["argmax_broken"] = (int(lost.sum()), len(rows))
    if promise.l1 is not None:
        slack = L1_SLACK + (0.0 if decimals is None else rows.shape[1] * 10.0**-decimals)
        counts["l1_broken"] = (int(((rows - honest).abs().sum(dim=1) > promise.l1 + slack).sum()), len(rows))
    return counts
