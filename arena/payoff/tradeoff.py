"""A defense along the parameter that it is swept by: what it costs its users against what it costs a thief."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from arena.contracts import UNDEFENDED, CountName, MatchResult, Spec
from arena.contracts.scores import CLEAN_ACCURACY, HONEST_ACCURACY
from arena.metrics.extremes import largest_mean, smallest_maximum
from arena.metrics.intervals import Interval
from arena.payoff.cost import cost_of
from arena.payoff.matrix import PayoffMatrix, bare_label, label, largest_share, pooled

ALLOWED_LOSSES = (Fraction(0), Fraction(1, 100), Fraction(2, 100), Fraction(5, 100))
"""Points of honest accuracy, as exact shares, at which the most that a sweep costs a thief is read off."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A swept value: what honest users keep, and what the best clone gets, as shares."""

    value: float
    defended: float  # accuracy on honest traffic, refusals counted wrong
    lost: Fraction  # of honest accuracy, with the honest image as the unit
    l1: float | None
    attack: str  # the one whose clones are the most accurate
    clone: Interval  # accuracy of the best thief's best track, with an interval that allows for the choice of the thief
    clones: Mapping[str, Mapping[int, float]]  # by attack and seed


@dataclass(frozen=True, kw_only=True)
class TradeOff:
    """The points of one defense in the order of the swept values; the undefended victim's accuracy beside them."""

    defense: str
    parameter: str
    points: tuple[Point, ...]
    clean: float
    undefended: Point | None
    images: int  # test rows that a clone's accuracy is a share of


@dataclass(frozen=True, kw_only=True)
class Least:
    """The least that the best thief gets among some points, and which of them leaves it."""

    point: Point
    clone: Interval


def tradeoffs(matrix: PayoffMatrix) -> list[TradeOff]:
    """Return a curve for each defense that was played with two or more values of one number and else alike."""
    groups: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for defense in matrix.defenses:
        spec = matrix.specs[defense]
        for name, value in spec.params:
            if isinstance(value, int | float) and not isinstance(value, bool):
                rest = Spec(name=spec.name, params=tuple(item for item in spec.params if item[0] != name))
                known = defense.removeprefix(label(spec))
                groups.setdefault((label(rest) + known, name), []).append((float(value), defense))
    undefended = matrix.named(UNDEFENDED.name)
    return [
        TradeOff(
            defense=bare_label(matrix.specs[places[0][1]]) + _told(matrix, places[0][1]),
            parameter=parameter,
            points=tuple(point for value, defense in sorted(places) if (point := _point(matrix, defense, value))),
            clean=_accuracy(matrix.of_defense(places[0][1]), CLEAN_ACCURACY),
            undefended=_point(matrix, undefended, 0.0) if undefended is not None else None,
            images=matrix.images,
        )
        for (_, parameter), places in groups.items()
        if len(places) > 1
    ]


def at_matched_loss(curve: TradeOff, allowed: Fraction) -> Least | None:
    """Return the least that clones get at any value that costs honest users at most ``allowed``, None at no value.

    The undefended victim is always among the values. The interval allows for the choice of the value and of the thief.
    """
    candidates = [point for point in curve.points if point.lost <= allowed]
    candidates += [curve.undefended] if curve.undefended is not None else []
    seeds = sorted(set.intersection(*(_common_seeds(point.clones) for point in candidates))) if candidates else []
    if not seeds:
        return None
    tables = [[[column[seed] for seed in seeds] for column in point.clones.values()] for point in candidates]
    found = smallest_maximum(tables, images=curve.images)
    return Least(point=candidates[found.place], clone=found.interval)


def _point(matrix: PayoffMatrix, defense: str, value: float) -> Point | None:
    results = matrix.of_defense(defense)
    cost = cost_of(results)
    accuracies = {attack: _clone_accuracies(matrix.results.get((attack, defense), ())) for attack in matrix.attacks}
    clones = {attack: found for attack, found in sorted(accuracies.items()) if found}
    seeds = sorted(_common_seeds(clones)) if clones else []
    if cost is None or not seeds:
        return None
    best = largest_mean([[column[seed] for seed in seeds] for column in clones.values()], images=matrix.images)
    return Point(
        value=value,
        defended=_accuracy(results, HONEST_ACCURACY),
        lost=cost.lost,
        l1=cost.l1,
        attack=list(clones)[best.place],
        clone=best.interval,
        clones=clones,
    )


def _common_seeds(clones: Mapping[str, Mapping[int, float]]) -> set[int]:
    return set.intersection(*(set(column) for column in clones.values()))


def _clone_accuracies(results: Sequence[MatchResult]) -> dict[int, float]:
    """Return the largest accuracy over tracks by seed."""
    found = {}
    for result in results:
        accuracy = largest_share(result, "accuracy")
        if accuracy is not None:
            found[result.matchup.seed] = accuracy
    return found


def _accuracy(results: Sequence[MatchResult], name: CountName) -> float:
    count = pooled(results, name)
    return count.share if count.total else 0.0


def _told(matrix: PayoffMatrix, defense: str) -> str:
    return defense.removeprefix(label(matrix.specs[defense]))
