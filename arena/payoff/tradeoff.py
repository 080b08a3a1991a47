"""The trade-off of a defense over a swept parameter: accuracy for honest users against the accuracy of clones."""

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
"""The losses of honest accuracy, as exact shares, at which the lowest clone accuracy of a sweep is reported."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One swept value: the accuracy of honest users and of the best clone, as shares."""

    value: float
    defended: float  # accuracy on honest traffic, refusals counted wrong
    lost: Fraction  # accuracy lost on honest images
    l1: float | None
    attack: str  # the attack with the most accurate clones
    clone: Interval  # the accuracy of its best track; the interval accounts for the selection of the attack
    clones: Mapping[str, Mapping[int, float]]  # by attack and seed


@dataclass(frozen=True, kw_only=True)
class TradeOff:
    """The points of one defense in the order of the swept values, with the accuracy of the undefended victim."""

    defense: str
    parameter: str
    points: tuple[Point, ...]
    clean: float
    undefended: Point | None
    images: int  # the number of test rows behind a clone's accuracy


@dataclass(frozen=True, kw_only=True)
class Least:
    """The lowest accuracy of the best clone over some points, and the point where it occurs."""

    point: Point
    clone: Interval


def tradeoffs(matrix: PayoffMatrix) -> list[TradeOff]:
    """Return a curve for each defense that was played with two or more values of one parameter, all else being equal."""
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
            points=tuple(point for value, defense in sorted(places) if (point := point_of(matrix, defense, value))),
            clean=_accuracy(matrix.of_defense(places[0][1]), CLEAN_ACCURACY),
            undefended=point_of(matrix, undefended, 0.0) if undefended is not None else None,
            images=matrix.images,
        )
        for (_, parameter), places in groups.items()
        if len(places) > 1
    ]


def at_matched_loss(curve: TradeOff, allowed: Fraction) -> Least | None:
    """Return the lowest clone accuracy over the values that cost honest users at most ``allowed``; None if there are none.

    The undefended victim always counts as one of the values. The interval accounts for the selection of value and
    attack.
    """
    candidates = [point for point in curve.points if point.lost <= allowed]
    candidates += [curve.undefended] if curve.undefended is not None else []
    seeds = sorted(set.intersection(*(_common_seeds(point.clones) for point in candidates))) if candidates else []
    if not seeds:
        return None
    tables = [[[column[seed] for seed in seeds] for column in point.clones.values()] for point in candidates]
    found = smallest_maximum(tables, images=curve.images)
    return Least(point=candidates[found.place], clone=found.interval)


def point_of(matrix: PayoffMatrix, defense: str, value: float = 0.0) -> Point | None:
    """Return the accuracy of honest users and of the best clone of one defense, None if either was not measured."""
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
        accuracy = largest_share(result, ("accuracy",))
        if accuracy is not None:
            found[result.matchup.seed] = accuracy
    return found


def _accuracy(results: Sequence[MatchResult], name: CountName) -> float:
    count = pooled(results, name)
    return count.share if count.total else 0.0


def _told(matrix: PayoffMatrix, defense: str) -> str:
    return defense.removeprefix(label(matrix.specs[defense]))
