"""The value of the game and how both sides would mix, if each knew the other's mixture: a zero-sum equilibrium."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog


@dataclass(frozen=True, kw_only=True)
class Equilibrium:
    """The attacker's expected payoff, and the probabilities of rows (attacks) and columns (defenses)."""

    value: float
    attacks: tuple[float, ...]
    defenses: tuple[float, ...]


def equilibrium(payoffs: Sequence[Sequence[float]]) -> Equilibrium:
    """Return an equilibrium of the zero-sum game in which rows maximise and columns minimise ``payoffs``.

    Two linear programmes (von Neumann 1928; the standard form is in any textbook of game theory). Where several
    mixtures are in equilibrium, one of them is returned; the value is unique.
    """
    matrix = np.asarray(payoffs, dtype=float)
    value, rows = _maximin(matrix)
    _, columns = _maximin(-matrix.T)
    return Equilibrium(value=value, attacks=rows, defenses=columns)


def _maximin(matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> tuple[float, tuple[float, ...]]:
    """Return the largest value that the rows can secure, and the mixture that secures it."""
    rows, columns = matrix.shape
    cost = np.zeros(rows + 1)
    cost[-1] = -1.0
    found = linprog(
        cost,
        A_ub=np.hstack([-matrix.T, np.ones((columns, 1))]),
        b_ub=np.zeros(columns),
        A_eq=np.hstack([np.ones((1, rows)), np.zeros((1, 1))]),
        b_eq=[1.0],
        bounds=[(0, 1)] * rows + [(None, None)],
        method="highs",
    )
    mixture = np.clip(found.x[:-1], 0, 1) + 0.0  # no negative zeros
    return float(found.x[-1]), tuple(float(share) for share in mixture / mixture.sum())
