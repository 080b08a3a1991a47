"""Released rows: what defenses make sure of before they let them out, and what attackers may read off them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from arena.contracts import Answer

MARGIN = 2.5e-6
"""By how much a kept argmax leads: more than 2e-6 in float32, so that rounding to 6 decimals cannot tie it."""

DIAMETER = 2.0
"""The L1 distance of two rows with nothing in common: no two are farther apart, in L1 or L2."""

ONE_HOT_SHARE, ONE_HOT_MAX = 0.99, 1 - 1e-6
MOST_DECIMALS = 4  # more cannot be told from float32 rows that happen to be near
_TOLD_BY = 20  # entries; fewer say nothing
_INSIDE = 1e-3  # entries nearer to 0 or 1 look rounded in any confident victim
_NEAR = 1e-6


def keep_argmax(rows: Tensor, clean: Tensor) -> Tensor:
    """Return rows (N, K) float64 whose argmax is that of ``clean`` by `MARGIN`; rows that have it are not touched.

    Each other row is mixed with the one-hot row of the clean class c by the least weight that does it: a gap
    g = row_c - max of the others becomes (1 - a) g + a, so a = (MARGIN - g) / (1 - g).
    """
    rows = rows.double()
    best = clean.argmax(dim=1, keepdim=True)
    kept = rows.gather(1, best)
    gap = kept - rows.scatter(1, best, -1.0).amax(dim=1, keepdim=True)
    weight = ((MARGIN - gap) / (1 - gap).clamp(min=MARGIN)).clamp(0, 1)
    return rows * (1 - weight) + torch.zeros_like(rows).scatter(1, best, weight)


def released(rows: Tensor) -> Answer:
    """Return rows (N, K) as an answer that refuses nothing."""
    return Answer(posteriors=rows.float(), refused=torch.zeros(len(rows), dtype=torch.bool))


def entropy(rows: Tensor) -> Tensor:
    """Return -sum_k p_k ln p_k (N,) in nats of rows (N, K); 0 ln 0 is 0."""
    return -torch.xlogy(rows, rows).sum(dim=1)


def joined(answers: Sequence[Answer]) -> Answer:
    """Return at least one answer as one, in order; all or none of them are explained."""
    if len(answers) == 1:
        return answers[0]
    explained = [answer.explanations for answer in answers if answer.explanations is not None]
    return Answer(
        posteriors=torch.cat([answer.posteriors for answer in answers]),
        refused=torch.cat([answer.refused for answer in answers]),
        explanations=torch.cat(explained) if explained else None,
    )


def picked(answer: Answer, rows: Tensor) -> Answer:
    """Return what was answered at ``rows`` (M,) int64, in that order."""
    maps = answer.explanations
    return Answer(
        posteriors=answer.posteriors[rows],
        refused=answer.refused[rows],
        explanations=None if maps is None else maps[rows],
    )


def looks_one_hot(rows: Tensor) -> bool:
    """Return whether at least 99 % of the rows (N, K) have all their mass on one class."""
    return len(rows) > 0 and float((rows.amax(dim=1) >= ONE_HOT_MAX).float().mean()) >= ONE_HOT_SHARE


def decimals(rows: Tensor) -> int | None:
    """Return the fewest decimals, up to 4, that the entries of (N, K) have; None if more, or if too few tell.

    Rows that were normalised after rounding do not look rounded.
    """
    entries = rows[(rows > _INSIDE) & (rows < 1 - _INSIDE)].double()
    if len(entries) < _TOLD_BY:
        return None
    for places in range(MOST_DECIMALS + 1):
        if bool(((entries - entries.round(decimals=places)).abs() <= _NEAR).all()):
            return places
    return None
