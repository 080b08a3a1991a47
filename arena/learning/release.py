"""Released rows: what defenses guarantee when they release them, and what attackers can infer from them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from arena.contracts import Answer

MARGIN = 2.5e-6
"""The lead of a kept argmax: more than 2e-6 in float32, so that rounding to 6 decimals cannot cause a tie."""

DIAMETER = 2.0
"""The largest L1 distance between two rows, reached if they have no class in common; no L2 distance exceeds it."""

ONE_HOT_SHARE, ONE_HOT_MAX = 0.99, 1 - 1e-6
MOST_DECIMALS = 4  # rounding to more decimals cannot be distinguished from float32 rows that happen to be near
_LEAST_ENTRIES = 20  # fewer entries are no evidence of rounding
_INSIDE = 1e-3  # entries nearer to 0 or 1 look rounded for any confident victim
_NEAR = 1e-6  # the tolerance within which an entry counts as rounded


def keep_argmax(rows: Tensor, clean: Tensor) -> Tensor:
    """Return rows (N, K) float64 that have the argmax of ``clean`` by `MARGIN`; rows that already do are unchanged.

    Any other row is mixed with the one-hot row of the clean class c with the smallest weight a that suffices: the gap
    g = row_c - max of the others becomes (1 - a) g + a, so a = (MARGIN - g) / (1 - g).
    """
    rows = rows.double()
    best = clean.argmax(dim=1, keepdim=True)
    kept = rows.gather(1, best)
    gap = kept - rows.scatter(1, best, -1.0).amax(dim=1, keepdim=True)
    weight = ((MARGIN - gap) / (1 - gap).clamp(min=MARGIN)).clamp(0, 1)
    return rows * (1 - weight) + torch.zeros_like(rows).scatter(1, best, weight)


def released(rows: Tensor) -> Answer:
    """Return an answer that releases the rows (N, K) and refuses none."""
    return Answer(posteriors=rows.float(), refused=torch.zeros(len(rows), dtype=torch.bool))


def entropy(rows: Tensor) -> Tensor:
    """Return the entropy -sum_k p_k ln p_k of rows (N, K), in nats, as (N,); 0 ln 0 is 0."""
    return -torch.xlogy(rows, rows).sum(dim=1)


def joined(answers: Sequence[Answer]) -> Answer:
    """Return one or more answers as a single one, in order; either all or none of them are explained."""
    if len(answers) == 1:
        return answers[0]
    explained = [answer.explanations for answer in answers if answer.explanations is not None]
    return Answer(
        posteriors=torch.cat([answer.posteriors for answer in answers]),
        refused=torch.cat([answer.refused for answer in answers]),
        explanations=torch.cat(explained) if explained else None,
    )


def gathered(answers: Iterable[Answer], *, rows: int) -> Answer:
    """Return answers to ``rows`` rows in all as a single one, each copied to its place when it comes.

    Small tensors that are kept while large ones come and go would fragment the memory.
    """
    coming = iter(answers)
    first = next(coming)
    if len(first.posteriors) == rows:
        return first
    whole = Answer(
        posteriors=_room(first.posteriors, rows),
        refused=_room(first.refused, rows),
        explanations=None if first.explanations is None else _room(first.explanations, rows),
    )
    done = 0
    for answer in itertools.chain([first], coming):
        place = slice(done, done + len(answer.posteriors))
        whole.posteriors[place] = answer.posteriors
        whole.refused[place] = answer.refused
        if whole.explanations is not None and answer.explanations is not None:
            whole.explanations[place] = answer.explanations
        done = place.stop
    return whole


def _room(part: Tensor, rows: int) -> Tensor:
    return part.new_empty(rows, *part.shape[1:])


def picked(answer: Answer, rows: Tensor) -> Answer:
    """Return the part of an answer at the indices ``rows`` (M,) int64, in their order."""
    maps = answer.explanations
    return Answer(
        posteriors=answer.posteriors[rows],
        refused=answer.refused[rows],
        explanations=None if maps is None else maps[rows],
    )


def looks_one_hot(rows: Tensor) -> bool:
    """Return whether at least 99 % of the rows (N, K) have nearly all their mass on one class, as hard labels do."""
    return len(rows) > 0 and float((rows.amax(dim=1) >= ONE_HOT_MAX).float().mean()) >= ONE_HOT_SHARE


def decimals(rows: Tensor) -> int | None:
    """Return the smallest number of decimals, up to 4, to which the entries of rows (N, K) are rounded.

    Return None if they are not, or if there are too few entries to decide. Rows that were normalised after rounding do
    not look rounded.
    """
    entries = rows[(rows > _INSIDE) & (rows < 1 - _INSIDE)].double()
    if len(entries) < _LEAST_ENTRIES:
        return None
    for places in range(MOST_DECIMALS + 1):
        if bool(((entries - entries.round(decimals=places)).abs() <= _NEAR).all()):
            return places
    return None
