"""The equilibrium of the payoff matrix as a zero-sum game: its value, and the mixed strategies of both sides.

If there are several equilibria, the one of maximum entropy is returned, following Balduzzi, Tuyls, Perolat and Graepel,
"Re-evaluating Evaluation" (NeurIPS 2018, arXiv 1806.02643). Departure: players with equal payoffs are merged first and
share the probability of the merged player evenly, so adding a copy of a player never changes the share of any other
player.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize

Matrix = NDArray[np.float64]
Mixture = NDArray[np.float64]
Places = NDArray[np.intp]
Supports: TypeAlias = tuple[frozenset[int], ...]

TOLERANCE = 1e-9  # for payoffs
EQUAL_TO = 12  # decimals at which payoffs count as equal
LEAST_SHARE = 1e-7  # a strategy with a smaller share is not played
ENOUGH = 1e-4  # a strategy that reaches this share can be played
LARGEST_CONDITION = 1e9  # of equations whose solution is trusted
STEPS = 500


@dataclass(frozen=True, kw_only=True)
class Equilibrium:
    """The attacker's expected payoff, and the probabilities of rows (attacks) and columns (defenses)."""

    value: float
    attacks: tuple[float, ...]
    defenses: tuple[float, ...]

    @property
    def supports(self) -> Supports:
        """The numbers of the rows and of the columns that have a share."""
        return tuple(
            frozenset(place for place, share in enumerate(side) if share > LEAST_SHARE)
            for side in (self.attacks, self.defenses)
        )


def equilibrium(payoffs: Sequence[Sequence[float]], *, near: Iterable[Equilibrium] = ()) -> Equilibrium:
    """Return the equilibrium of maximum entropy of the game in which rows maximise and columns minimise ``payoffs``.

    ``near`` are equilibria of similar games of the same players. They save time and change no answer: what they suggest
    is used only if it is an equilibrium of this game.
    """
    matrix = np.asarray(payoffs, dtype=float)
    _, first_rows, row_of = np.unique(matrix.round(EQUAL_TO), axis=0, return_index=True, return_inverse=True)
    _, first_columns, column_of = np.unique(matrix.round(EQUAL_TO), axis=1, return_index=True, return_inverse=True)
    game, row_of, column_of = matrix[np.ix_(first_rows, first_columns)], row_of.reshape(-1), column_of.reshape(-1)
    suggested = ((_kinds(one.attacks, row_of), _kinds(one.defenses, column_of)) for one in near)
    rows, columns = _any_equilibrium(game, suggested)
    if not _only_one(game, rows, columns):
        value = float(rows @ game @ columns)
        rows, columns = (
            _evened(game, rows, against=columns, value=value),
            _evened(-game.T, columns, against=rows, value=-value),
        )
    return Equilibrium(
        value=float(rows @ game @ columns),
        attacks=_divided(rows, row_of),
        defenses=_divided(columns, column_of),
    )


def _any_equilibrium(game: Matrix, suggested: Iterable[tuple[Places, Places]]) -> tuple[Mixture, Mixture]:
    """Return some equilibrium: a pure one, one on a suggested pair of supports, or one by linear programming."""
    pure = (np.array([game.min(axis=1).argmax()]), np.array([game.max(axis=0).argmin()]))
    for rows_played, columns_played in itertools.chain([pure], suggested):
        found = _on_supports(game, rows_played, columns_played)
        if found is not None and _is_equilibrium(game, *found):
            return found
    rows, columns = _solved(game)
    return (rows, columns) if _is_equilibrium(game, rows, columns) else (rows, _solved(-game.T)[0])


def _on_supports(game: Matrix, rows_played: Places, columns_played: Places) -> tuple[Mixture, Mixture] | None:
    """Return the mixtures of these strategies that make the other side indifferent, or None without a unique solution."""
    count = len(rows_played)
    if count != len(columns_played):
        return None
    bordered = _bordered(game[np.ix_(rows_played, columns_played)])
    if np.linalg.cond(bordered) > LARGEST_CONDITION:
        return None
    one = np.append(np.zeros(count), 1.0)
    rows, columns = np.zeros(game.shape[0]), np.zeros(game.shape[1])
    rows[rows_played] = np.linalg.solve(bordered.T, one)[:count]
    columns[columns_played] = np.linalg.solve(bordered, one)[:count]
    return None if min(rows.min(), columns.min()) < 0 else (_on_simplex(rows), _on_simplex(columns))


def _bordered(kernel: Matrix) -> Matrix:
    """Return the matrix of the indifference equations of a square game, with the value as their last unknown."""
    count = len(kernel)
    return np.block([[kernel, np.ones((count, 1))], [np.ones((1, count)), np.zeros((1, 1))]])


def _is_equilibrium(game: Matrix, rows: Mixture, columns: Mixture) -> bool:
    """Return whether neither side gains by leaving."""
    return float((game @ columns).max() - (rows @ game).min()) <= TOLERANCE


def _kinds(shares: Sequence[float], kind: Places) -> Places:
    """Return the kinds of the players that have a share."""
    return np.unique(kind[np.asarray(shares) > LEAST_SHARE])


def _solved(game: Matrix) -> tuple[Mixture, Mixture]:
    """Return a mixture of the rows that guarantees the value, and one of the columns.

    They are the solution of a linear programme and of its dual (von Neumann 1928).
    """
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
    return _on_simplex(found.x[:-1]), _on_simplex(-found.ineqlin.marginals)


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
    return count == others and bool(np.linalg.matrix_rank(_bordered(kernel)) == count + 1)


def _evened(game: Matrix, mixture: Mixture, *, against: Mixture, value: float) -> Mixture:
    """Return the mixture of maximum entropy among the mixtures of the rows that guarantee ``value``, as ``mixture`` does.

    Each of them plays only best responses to ``against``, an equilibrium mixture of the columns, and gives exactly the
    value against every column that is played there. If that leaves one mixture, it is the given one. If the uniform
    mixture of all best responses guarantees the value, no other one is more even.
    """
    best = game @ against > value - TOLERANCE
    equations = np.vstack([game[np.ix_(best, against > LEAST_SHARE)].T, np.ones((1, int(best.sum())))])
    if np.linalg.matrix_rank(equations) == best.sum():
        return mixture
    uniform = best / best.sum()
    return _on_simplex(uniform) if (uniform @ game).min() >= value - TOLERANCE else _most_even(game, mixture)


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
