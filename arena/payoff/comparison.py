"""Paired comparisons with a yardstick on the same seeds, victims and pools, corrected for multiple comparisons."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from arena.metrics.differences import difference_interval, effect_size, holm, paired_p_value
from arena.metrics.intervals import Interval
from arena.payoff.matrix import PayoffMatrix


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much more ``player`` gets than the yardstick over paired seeds; ``distinct`` is after Holm's correction."""

    player: str
    difference: Interval
    p_value: float
    size: float | None = None  # the difference in standard deviations over seeds; None: too few seeds, or no spread
    distinct: bool = False


@dataclass(frozen=True, kw_only=True)
class _Differences:
    """A player's differences from the yardstick, one per seed, and the number of attacks they may have been selected from."""

    player: str
    values: Sequence[float]
    candidates: int = 1


def against_attack(matrix: PayoffMatrix, yardstick: str, defense: str) -> list[Comparison]:
    """Compare every other attack with ``yardstick`` against one defense; all of them form one family of tests."""
    others = [attack for attack in matrix.attacks if attack != yardstick]
    return _corrected(
        [_Differences(player=one, values=_paired(matrix, (one, defense), (yardstick, defense))) for one in others],
        matrix.images,
    )


def against_defense(matrix: PayoffMatrix, yardstick: str, attack: str) -> list[Comparison]:
    """Compare every other defense with ``yardstick`` under one attack; all of them form one family of tests."""
    others = [defense for defense in matrix.defenses if defense != yardstick]
    return _corrected(
        [_Differences(player=one, values=_paired(matrix, (attack, one), (attack, yardstick))) for one in others],
        matrix.images,
    )


def worst_cases_against(matrix: PayoffMatrix, yardstick: str) -> list[Comparison]:
    """Compare the worst case of every other defense with that of ``yardstick``; all of them form one family of tests.

    Each defense is represented by the values of its worst attack. A p-value is multiplied by the number of attacks that
    may be the worst one against the defense with the higher mean.
    """
    found = [_worst_differences(matrix, defense, yardstick) for defense in matrix.defenses if defense != yardstick]
    return _corrected([one for one in found if one is not None], matrix.images)


def _worst_differences(matrix: PayoffMatrix, defense: str, yardstick: str) -> _Differences | None:
    seeds = set(matrix.seeds_of(defense)) & set(matrix.seeds_of(yardstick))
    one, two = matrix.worst_case(defense, seeds=seeds), matrix.worst_case(yardstick, seeds=seeds)
    if one is None or two is None:
        return None
    values = [one.values[seed] - two.values[seed] for seed in sorted(seeds)]
    upper = one if statistics.fmean(values) > 0 else two
    return _Differences(player=defense, values=values, candidates=upper.near)


def _paired(matrix: PayoffMatrix, first: tuple[str, str], second: tuple[str, str]) -> list[float]:
    one, two = matrix.payoffs.get(first, {}), matrix.payoffs.get(second, {})
    return [one[seed] - two[seed] for seed in sorted(one.keys() & two.keys())]


def _corrected(found: Sequence[_Differences], images: int) -> list[Comparison]:
    compared = [one for one in found if one.values]
    p_values = [min(1.0, one.candidates * paired_p_value(one.values, images=images)) for one in compared]
    return [
        Comparison(
            player=one.player,
            difference=difference_interval(one.values, images=images),
            p_value=p_value,
            size=effect_size(one.values),
            distinct=distinct,
        )
        for one, p_value, distinct in zip(compared, p_values, holm(p_values), strict=True)
    ]
