"""A defense along the parameter that it is swept by: what it costs its users against what it costs a thief."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arena.contracts import UNDEFENDED, CountName, MatchResult, Spec
from arena.contracts.scores import CLEAN_ACCURACY, HONEST_ACCURACY
from arena.metrics.intervals import Interval, mean_interval
from arena.payoff.matrix import PayoffMatrix, bare_label, label, largest_share, pooled
from arena.payoff.ranking import cost_of

ALLOWED_LOSSES = (0.0, 0.01, 0.02, 0.05)
"""Points of honest accuracy, as shares, at which the most that a sweep costs a thief is read off."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A swept value: what honest users keep, and what the best clone gets, as shares."""

    value: float
    defended: float  # accuracy on honest traffic, refusals counted wrong
    l1: float | None
    attack: str  # the one whose clones are the most accurate
    clone: Interval  # accuracy of its best track over seeds
    clones: Mapping[int, float]  # by seed


@dataclass(frozen=True, kw_only=True)
class TradeOff:
    """The points of one defense in the order of the swept values; the undefended victim's accuracy beside them."""

    defense: str
    parameter: str
    points: tuple[Point, ...]
    clean: float
    undefended: Point | None


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
        )
        for (_, parameter), places in groups.items()
        if len(places) > 1
    ]


def at_matched_loss(curve: TradeOff, allowed: float) -> Interval | None:
    """Return the least that clones get at any value that costs honest users at most ``allowed``, None at no value.

    For each seed the value is chosen on the other seeds, since a minimum over the same seeds is biased down; the
    undefended victim is always among the values.
    """
    candidates = [point for point in curve.points if point.defended >= curve.clean - allowed]
    candidates += [curve.undefended] if curve.undefended is not None else []
    seeds = sorted(set.intersection(*(set(point.clones) for point in candidates))) if candidates else []
    values = []
    for seed in seeds:
        elsewhere = [statistics.fmean(_without(point.clones, seed)) for point in candidates]
        values.append(candidates[elsewhere.index(min(elsewhere))].clones[seed])
    return mean_interval(values) if values else None


def _point(matrix: PayoffMatrix, defense: str, value: float) -> Point | None:
    results = matrix.of_defense(defense)
    cost = cost_of(results)
    accuracies = {attack: _clone_accuracies(matrix.results.get((attack, defense), ())) for attack in matrix.attacks}
    played = {attack: found for attack, found in accuracies.items() if found}
    if cost is None or not played:
        return None
    best = max(played, key=lambda attack: statistics.fmean(played[attack].values()))
    return Point(
        value=value,
        defended=_accuracy(results, HONEST_ACCURACY),
        l1=cost.l1,
        attack=best,
        clone=mean_interval(list(played[best].values())),
        clones=played[best],
    )


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


def _without(values: Mapping[int, float], seed: int) -> list[float]:
    return [value for other, value in values.items() if other != seed] or list(values.values())


def _told(matrix: PayoffMatrix, defense: str) -> str:
    return defense.removeprefix(label(matrix.specs[defense]))
