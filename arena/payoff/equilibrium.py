"""The equilibrium of the payoff matrix as a zero-sum game: its value, and the mixed strategies of both sides.

If there are several equilibria, the one of maximum entropy is returned, following Balduzzi, Tuyls, Perolat and Graepel,
"Re-evaluating Evaluation" (NeurIPS 2018, arXiv 1806.02643). Departure: players with equal payoffs are merged first and
share the probability of the merged player evenly, so adding a copy of a player never changes the share of any other
player.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize

Matrix = NDArray[np.float64]
Mixture = NDArray[np.float64]

TOLERANCE = 1e-9  # for payoffs
EQUAL_TO = 12  # decimals at which payoffs count as equal
LEAST_SHARE = 1e-7  # a strategy with a smaller share is not played
ENOUGH = 1e-4  # a strategy that reaches this share can be played
STEPS = 500


@dataclass(frozen=True, kw_only=True)
class Equilibrium:
    """The attacker's expected payoff, and the probabilities of rows (attacks) and columns (defenses)."""

    value: float
    attacks: tuple[float, ...]
    defenses: tuple[float, ...]


def equilibrium(payoffs: Sequence[Sequence[float]]) -> Equilibrium:
    """Return the equilibrium of maximum entropy of the game in which rows maximise and columns minimise ``payoffs``."""
    matrix = np.asarray(payoffs, dtype=float)
    _, first_rows, row_of = np.unique(matrix.round(EQUAL_TO), axis=0, return_index=True, return_inverse=True)
    _, first_columns, column_of = np.unique(matrix.round(EQUAL_TO), axis=1, return_index=True, return_inverse=True)
    game = matrix[np.ix_(first_rows, first_columns)]
    rows, columns = _maximin(game), _maximin(-game.T)
    if not _only_one(game, rows, columns):
        rows, columns = _most_even(game, rows), _most_even(-game.T, columns)
    return Equilibrium(
        value=float(rows @ game @ columns),
        attacks=_divided(rows, row_of.reshape(-1)),
        defenses=_divided(columns, column_of.reshape(-1)),
    )


def _maximin(game: Matrix) -> Mixture:
    """Return a mixture of the rows that guarantees the value of the game, by linear programming (von Neumann 1928)."""
    rows, columns = game.shape
    found = linprog(
        np.append(np.zeros(rows), -1.0),
        A_ub=np.hstack([-game.T, np.ones((columns, 1))]),
        b_ub=np.zeros(columns),
        A_eq=np.append(np.ones(rows), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, 1)] * rows + [(None, None)],
        method="highs",
    )
    return _on_simplex(found.x[:-1])


def _only_one(game: Matrix, rows: Mixture, columns: Mixture) -> bool:
    """Whether the equilibrium is known to be unique.

    It is if all best responses are played, both sides play the same number of strategies, and the indifference
    equations have a unique solution.
    """
    value = float(rows @ game @ columns)
    played = rows > LEAST_SHARE, columns > LEAST_SHARE
    best = game @ columns > value - TOLERANCE, rows @ game < value + TOLERANCE
    if not all(np.array_equal(one, other) for one, other in zip(played, best, strict=True)):
        return False
    kernel = game[np.ix_(*played)]
    count, others = kernel.shape
    if count != others:
        return False
    bordered = np.block([[kernel, np.ones((count, 1))], [np.ones((1, count)), np.zeros((1, 1))]])
    return bool(np.linalg.matrix_rank(bordered) == count + 1)


def _most_even(game: Matrix, mixture: Mixture) -> Mixture:
    """Return the mixture of maximum entropy among the mixtures of the rows that guarantee as much as ``mixture``.

    These form a polytope. If it contains the uniform mixture over all playable strategies, that is the solution.
    Otherwise the entropy, which is strictly concave, is maximised from a starting point that plays all of them.
    """
    bound = float((mixture @ game).min()) - TOLERANCE
    start = _playing_all(game, bound)
    played = start > LEAST_SHARE
    shares = np.where(played, 1 / played.sum(), 0.0)
    if (shares @ game).min() < bound:
        shares[played] = _climbed(game[played], bound, start[played] / start[played].sum())
    return _on_simplex(shares)


def _playing_all(game: Matrix, bound: float) -> Mixture:
    """Return a mixture that guarantees ``bound`` and plays every strategy that any such mixture plays.

    This is a linear programme that maximises the sum of all shares, each counted up to `ENOUGH`.
    """
    rows, columns = game.shape
    found = linprog(
        np.append(np.zeros(rows), -np.ones(rows)),
        A_ub=np.block([[-game.T, np.zeros((columns, rows))], [-np.eye(rows), np.eye(rows)]]),
        b_ub=np.append(np.full(columns, -bound), np.zeros(rows)),
        A_eq=np.append(np.ones(rows), np.zeros(rows))[None],
        b_eq=[1.0],
        bounds=[(0, 1)] * rows + [(0, ENOUGH)] * rows,
        method="highs",
    )
    return _on_simplex(found.x[:rows])


def _climbed(game: Matrix, bound: float, start: Mixture) -> Mixture:
    """Return the mixture of maximum entropy that guarantees ``bound``, given rows that can all be played."""
    found = minimize(
        lambda shares: float((shares * np.log(shares)).sum()),
        start,
        jac=lambda shares: np.log(shares) + 1,
        bounds=[(LEAST_SHARE / 10, 1)] * len(game),
        constraints=[
            {"type": "eq", "fun": lambda shares: shares.sum() - 1, "jac": np.ones_like},
            {"type": "ineq", "fun": lambda shares: shares @ game - bound, "jac": lambda _: game.T},
        ],
        method="SLSQP",
        options={"maxiter": STEPS, "ftol": TOLERANCE**1.5},
    )
    return np.asarray(found.x)


def _on_simplex(shares: Mixture) -> Mixture:
    clipped = np.clip(shares, 0, 1) + 0.0  # no negative zeros
    return np.asarray(clipped / clipped.sum())


def _divided(shares: Mixture, kind: NDArray[np.intp]) -> tuple[float, ...]:
    """Return the share of each player: the share of its kind, divided evenly among its copies."""
    return tuple(float(share) for share in shares[kind] / np.bincount(kind)[kind])
