"""Players as reports show them."""

from __future__ import annotations

from dataclasses import dataclass

from arena.payoff.matrix import PayoffMatrix
from arena.report.sentences import YARDSTICK_ATTACK, YARDSTICK_DEFENSE


@dataclass(frozen=True, kw_only=True)
class Player:
    """A player of a matrix as it is shown."""

    label: str  # as the matrix knows it
    name: str  # the shortest name that is unique on its side
    yardstick: bool


def player_of(matrix: PayoffMatrix, label: str) -> Player:
    """Return the player of a matrix that has this label."""
    yardstick = matrix.specs[label].name in (YARDSTICK_ATTACK, YARDSTICK_DEFENSE)
    return Player(label=label, name=matrix.short(label), yardstick=yardstick)
