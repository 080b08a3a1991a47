"""What a defense changes for each attack: paired differences from the undefended victim, with a test and its size."""

from __future__ import annotations

from dataclasses import dataclass

from arena.contracts import UNDEFENDED
from arena.metrics.intervals import Interval
from arena.payoff.comparison import against_attack, against_defense
from arena.payoff.matrix import PayoffMatrix
from arena.report.players import Player, player_of
from arena.report.sentences import YARDSTICK_ATTACK


@dataclass(frozen=True, kw_only=True)
class Effect:
    """How much more fidelity one attack gets against one defense than against the undefended victim.

    ``p_value`` is of a paired t test over seeds, and ``distinct`` is after Holm's correction over the defenses that the
    attack meets. ``size`` is the difference in standard deviations over seeds.
    """

    attack: Player
    defense: Player
    difference: Interval
    p_value: float
    size: float | None
    distinct: bool


@dataclass(frozen=True, kw_only=True)
class Advantage:
    """How much more fidelity an attack gets from the undefended victim than random queries; fields as in `Effect`."""

    attack: Player
    difference: Interval
    p_value: float
    size: float | None
    distinct: bool


def effects(matrix: PayoffMatrix) -> tuple[Effect, ...]:
    """Return the effect of every defense on every attack; empty if the undefended victim was not played."""
    undefended = matrix.named(UNDEFENDED.name)
    if undefended is None:
        return ()
    return tuple(
        Effect(
            attack=player_of(matrix, attack),
            defense=player_of(matrix, one.player),
            difference=one.difference,
            p_value=one.p_value,
            size=one.size,
            distinct=one.distinct,
        )
        for attack in matrix.attacks
        for one in against_defense(matrix, undefended, attack)
    )


def advantages(matrix: PayoffMatrix) -> tuple[Advantage, ...]:
    """Return the comparison of every attack with random queries; empty if one of the yardsticks was not played."""
    undefended, random = matrix.named(UNDEFENDED.name), matrix.named(YARDSTICK_ATTACK)
    if undefended is None or random is None:
        return ()
    return tuple(
        Advantage(
            attack=player_of(matrix, one.player),
            difference=one.difference,
            p_value=one.p_value,
            size=one.size,
            distinct=one.distinct,
        )
        for one in against_attack(matrix, random, undefended)
    )
