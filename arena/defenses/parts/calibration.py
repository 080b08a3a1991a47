"""Calibrate thresholds on benign rows: training rows, each judged by a network that has not learnt from it.

Source: cross-conformal prediction of Vovk, "Cross-conformal predictors", Annals of Mathematics and Artificial
Intelligence 74, 2015, arXiv 1208.0806. The validation rows alone are few: with 100 of them, a threshold for 1 % of the
benign rows misleads between 0.4 and 4.7 % of them. They serve to measure what the threshold really costs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from arena.contracts import BadParameter


class Fold(NamedTuple):
    """The indices of the training rows that a network learns from, and of those that it then judges."""

    learnt: Tensor
    held: Tensor


def folds(rows: int, count: int, *, rng: Generator) -> Iterator[Fold]:
    """Yield ``count`` random folds of ``rows`` rows, in which every row is held once; fewer if there are fewer rows."""
    if rows < 2 or count < 2:
        return
    order = torch.randperm(rows, generator=rng)
    parts = order.chunk(count)
    for number, held in enumerate(parts):
        yield Fold(torch.cat([*parts[:number], *parts[number + 1 :]]), held)


def lowest_share(values: Tensor, *, share: float) -> float:
    """Return a threshold that a new benign row is below with a probability of at most ``share``.

    It is the entry floor(share (n + 1)) - 1, counted from 0, of the n ascending values (n,): a new row is equally
    likely to fall into any of the n + 1 gaps between them. The lowest value, which a new row is below with a probability
    of 1 / (n + 1), if that is already more. Raises `BadParameter` without benign rows.
    """
    if len(values) == 0:
        message = "there are no benign rows on which to calibrate the threshold; set it, or give validation rows"
        raise BadParameter(message)
    place = math.floor(round(share * (len(values) + 1), 6)) - 1
    return float(values.sort().values[max(0, place)])
