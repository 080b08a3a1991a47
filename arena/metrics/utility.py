"""What honest users get from a defended oracle, and how often a defense breaks its promises."""

from __future__ import annotations

import torch
from torch import Tensor

from arena.contracts import Count, CountName, MeasureName, Promise, Scores
from arena.contracts import scores as names
from arena.metrics.fidelity import agreement, labels_of

SHIFTED = 1e-3  # released posteriors count as changed beyond this L1 distance from the clean ones
ONE_HOT_FROM = 1 - 1e-6  # a row counts as a hard label if its largest posterior is at least this
BINS = 15
SMALLEST_PROBABILITY = 1e-12
L1_SLACK = 1e-5  # for float32 rounding of released rows


def utility(*, released: Tensor, refused: Tensor, clean: Tensor, labels: Tensor) -> Scores:
    """Compare released with clean posteriors (N, K) on honest rows with labels (N,).

    A refused row counts as a wrong decision. Probabilities are measured on the rows that were answered.
    """
    answered = ~refused
    decided, clean_decided = labels_of(released), labels_of(clean)
    total = len(labels)
    counts = {
        names.KEPT: Count(int(((decided == clean_decided) & answered).sum()), total),
        names.HONEST_ACCURACY: Count(int(((decided == labels) & answered).sum()), total),
        names.CLEAN_ACCURACY: agreement(clean_decided, labels),
        names.REFUSED: Count(int(refused.sum()), total),
    }
    measures: dict[MeasureName, float] = {}
    if bool(answered.any()):
        rows, truth, honest = released[answered].double(), labels[answered], clean[answered].double()
        shift = (rows - honest).abs().sum(dim=1)
        counts[names.SHIFTED] = Count(int((shift > SHIFTED).sum()), len(rows))
        counts[names.ONE_HOT] = Count(int((rows.amax(dim=1) >= ONE_HOT_FROM).sum()), len(rows))
        measures = {
            names.L1: float(shift.mean()),
            names.L1_MAX: float(shift.max()),
            names.ECE: calibration_error(rows, truth),
            names.ECE_CLEAN: calibration_error(honest, truth),
            names.BRIER_COST: brier_score(rows, truth) - brier_score(honest, truth),
            names.LOG_LOSS: float(-rows.gather(1, truth.unsqueeze(1)).clamp(min=SMALLEST_PROBABILITY).log().mean()),
        }
    return Scores(counts=counts, measures=measures)


def brier_score(posteriors: Tensor, labels: Tensor) -> float:
    """Return the mean squared distance between rows (N, K) and the one-hot labels, which lies in [0, 2]."""
    truth = torch.nn.functional.one_hot(labels, posteriors.shape[1])
    return float((posteriors.double() - truth).square().sum(dim=1).mean())


def calibration_error(posteriors: Tensor, labels: Tensor, *, bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equal width of the largest posterior; 1 is in the last bin."""
    confidence = posteriors.double().amax(dim=1)
    hits = (labels_of(posteriors) == labels).double()
    place = (confidence * bins).long().clamp(max=bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, hits - confidence)
    return float(gaps.abs().sum() / len(labels))


def count_broken_promises(
    promise: Promise, *, clean: Tensor, released: Tensor, refused: Tensor, decimals: int | None
) -> dict[CountName, Count]:
    """Count, for each promise, the answered rows that break it; broken promises are counted but never repaired.

    The promised argmax is the undefended victim's, where ties go to the lowest index. Rounding by the oracle is not a
    breach: with ``decimals``, the L1 bound has a slack of K * 10^-decimals, and the argmax may be tied, which is the
    most that rounding can do to it.
    """
    answered = ~refused
    rows, honest = released[answered].double(), clean[answered].double()
    counts: dict[CountName, Count] = {}
    if promise.argmax:
        decided = labels_of(honest)
        lost = labels_of(rows) != decided
        if decimals is not None:
            lost = rows.gather(1, decided.unsqueeze(1)).squeeze(1) < rows.amax(dim=1)
        counts[names.ARGMAX_BROKEN] = Count(int(lost.sum()), len(rows))
    if promise.l1 is not None:
        slack = L1_SLACK + (0.0 if decimals is None else rows.shape[1] * 10.0**-decimals)
        counts[names.L1_BROKEN] = Count(int(((rows - honest).abs().sum(dim=1) > promise.l1 + slack).sum()), len(rows))
    return counts
