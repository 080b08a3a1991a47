"""Paired comparison: the same seeds, victims and pools under two players."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arena.metrics.intervals import Interval, holm, mean_interval, paired_p_value
from arena.payoff.matrix import PayoffMatrix


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much more ``player`` gets than the yardstick, over paired seeds; ``distinct`` after Holm's correction."""

    player: str
    difference: Interval
    p_value: float
    distinct: bool = False


def against_attack(matrix: PayoffMatrix, yardstick: str, defense: str) -> list[Comparison]:
    """Compare every other attack with ``yardstick`` against one defense; the family is the list."""
    return _corrected(
        [
            (attack, _paired(matrix, (attack, defense), (yardstick, defense)))
            for attack in matrix.attacks
            if attack != yardstick
        ]
    )


def against_defense(matrix: PayoffMatrix, yardstick: str, attack: str) -> list[Comparison]:
    """Compare every other defense with ``yardstick`` under one attack; the family is the list."""
    return _corrected(
        [
            (defense, _paired(matrix, (attack, defense), (attack, yardstick)))
            for defense in matrix.defenses
            if defense != yardstick
        ]
    )


def _paired(matrix: PayoffMatrix, first: tuple[str, str], second: tuple[str, str]) -> list[float]:
    one, two = matrix.payoffs.get(first, {}), matrix.payoffs.get(second, {})
    return [one[seed] - two[seed] for seed in sorted(one.keys() & two.keys())]


def _corrected(found: Sequence[tuple[str, list[float]]]) -> list[Comparison]:
    compared = [(player, differences) for player, differences in found if differences]
    p_values = [paired_p_value(differences) for _, differences in compared]
    return [
        Comparison(player=player, difference=mean_interval(differences), p_value=p_value, distinct=distinct)
        for (player, differences), p_value, distinct in zip(compared, p_values, holm(p_values), strict=True)
    ]
