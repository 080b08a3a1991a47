"""The equilibrium of a payoff matrix, and how much it varies over resampled seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arena.metrics.intervals import MIN_SEEDS
from arena.payoff.equilibrium import Equilibrium, Supports, equilibrium
from arena.payoff.matrix import PayoffMatrix

RESAMPLES = 100
RESAMPLING_SEED = 0
PERCENTILES = (2.5, 97.5)
SUGGESTIONS = 12  # supports of earlier draws that are tried before a linear programme, which takes as long as 20


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The range of the middle 95 % of a value over resampled seeds."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """The spread of the value of the game and of each player's share."""

    value: Spread
    attacks: Mapping[str, Spread]
    defenses: Mapping[str, Spread]


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The equilibrium of maximum entropy: each player's probability, and the expected payoff."""

    value: float
    attacks: Mapping[str, float]
    defenses: Mapping[str, float]
    resampled: Resampled | None  # None: too few seeds that all cells have in common


def mixture(matrix: PayoffMatrix) -> Mixture | None:
    """Return the equilibrium over all attacks and all defenses with a complete column and no leak; None if there are none.

    The spread is computed from the equilibria of the same cells over seeds that are drawn with replacement.
    """
    complete = [
        defense
        for defense in matrix.defenses
        if defense not in matrix.leaked and all(matrix.cell(attack, defense) for attack in matrix.attacks)
    ]
    if not complete:
        return None
    cells = [[matrix.payoffs[attack, defense] for defense in complete] for attack in matrix.attacks]
    found = equilibrium([[float(np.mean(list(cell.values()))) for cell in row] for row in cells])
    seeds = sorted(set.intersection(*(set(cell) for row in cells for cell in row)))
    by_seed = np.array([[[cell[seed] for seed in seeds] for cell in row] for row in cells])
    return Mixture(
        value=found.value,
        attacks=dict(zip(matrix.attacks, found.attacks, strict=True)),
        defenses=dict(zip(complete, found.defenses, strict=True)),
        resampled=_resampled(by_seed, matrix.attacks, complete) if len(seeds) >= MIN_SEEDS else None,
    )


def _resampled(cells: NDArray[np.float64], attacks: Sequence[str], defenses: Sequence[str]) -> Resampled:
    """Return the spreads of the equilibria of cells (attacks, defenses, seeds).

    Draws of the same seeds have the same equilibrium, and an equilibrium often plays the same strategies as that of
    another draw, so few of them need a linear programme.
    """
    random, seeds = np.random.default_rng(RESAMPLING_SEED), cells.shape[2]
    drawn = [tuple(map(int, np.sort(random.integers(seeds, size=seeds)))) for _ in range(RESAMPLES)]
    known: dict[tuple[int, ...], Equilibrium] = {}
    near: dict[Supports, Equilibrium] = {}  # by what is played, the latest first
    for places in dict.fromkeys(drawn):
        solved = equilibrium(cells[:, :, places].mean(axis=2).tolist(), near=list(near.values())[:SUGGESTIONS])
        known[places] = solved
        near = {solved.supports: solved, **near}
    found = [known[places] for places in drawn]
    return Resampled(
        value=_spread([one.value for one in found]),
        attacks=_spreads(attacks, [one.attacks for one in found]),
        defenses=_spreads(defenses, [one.defenses for one in found]),
    )


def _spreads(players: Sequence[str], shares: Sequence[Sequence[float]]) -> dict[str, Spread]:
    return {player: _spread(column) for player, column in zip(players, zip(*shares, strict=True), strict=True)}


def _spread(values: Sequence[float]) -> Spread:
    low, high = np.percentile(values, PERCENTILES)
    return Spread(low=float(low), high=float(high))
