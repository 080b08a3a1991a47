"""The ranks of defenses, by division and class, and of attacks. The ranks of each group hold simultaneously."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass

from arena.metrics.extremes import smallest_maximum
from arena.metrics.intervals import Interval
from arena.metrics.rank_intervals import Comparisons, RankInterval, compare_all
from arena.metrics.shared_variance import EQUAL_TO, share_intervals
from arena.payoff.cost import Cost, Division, ScoreClass, cost_of
from arena.payoff.matrix import PayoffMatrix, WorstCase


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A defense, what it costs, and its worst case; ``ranks`` is None if it is not ranked or there are too few seeds."""

    defense: str
    cost: Cost
    worst_case: WorstCase  # over the seeds of its group
    ranks: RankInterval | None


@dataclass(frozen=True, kw_only=True)
class DefenseGroup:
    """The defenses of one division and class, sorted by worst case, lowest first, and then by name."""

    division: Division
    score_class: ScoreClass
    seeds: int  # the number of seeds that all of them have
    resolved: (
        float | None
    )  # a difference that is detected about half of the time; None: too few seeds, or all are equal
    standings: tuple[Standing, ...]


@dataclass(frozen=True, kw_only=True)
class AttackStanding:
    """An attack and its own score: the mean over defenses within each seed, averaged over seeds."""

    attack: str
    score: Interval
    ranks: RankInterval | None


@dataclass(frozen=True, kw_only=True)
class AttackGroup:
    """The attacks that met every defense, sorted by their own score, highest first, and then by name."""

    seeds: int  # the number of seeds that all of them have
    resolved: float | None
    standings: tuple[AttackStanding, ...]


@dataclass(frozen=True, kw_only=True)
class Strongest:
    """The defense with the lowest worst case; the interval accounts for the selection of defense and attack."""

    defense: str
    interval: Interval


def defense_groups(matrix: PayoffMatrix, *, attacks: Collection[str] | None = None) -> list[DefenseGroup]:
    """Return the defenses that are ranked, by division and class, cheapest first; ``attacks`` are by default all of them.

    Defenses are sorted and compared by the same numbers: the values of the worst attack on each, over the seeds that
    all attacks on all defenses of the group have in common.
    """
    ranked = [defense for defense in matrix.defenses if defense not in matrix.unranked]
    costs = _costs(matrix, ranked, attacks=attacks)
    placed = sorted(costs, key=lambda defense: costs[defense].place)
    return [
        _defense_group(matrix, {defense: costs[defense] for defense in members}, attacks=attacks)
        for _, members in itertools.groupby(placed, key=lambda defense: costs[defense].place)
    ]


def set_apart(matrix: PayoffMatrix) -> tuple[Standing, ...]:
    """Return the defenses that are shown but not ranked (`PayoffMatrix.unranked`), by name."""
    costs = _costs(matrix, sorted(matrix.unranked))
    cases = {defense: matrix.worst_case(defense) for defense in costs}
    return tuple(
        Standing(defense=defense, cost=costs[defense], worst_case=worst, ranks=None)
        for defense, worst in cases.items()
        if worst is not None
    )


def _costs(matrix: PayoffMatrix, defenses: Sequence[str], *, attacks: Collection[str] | None = None) -> dict[str, Cost]:
    """Return the cost of each defense that has one and has met its attacks on a common seed."""
    met = [defense for defense in defenses if matrix.seeds_of(defense, attacks=attacks)]
    costs = {defense: cost_of(matrix.of_defense(defense)) for defense in met}
    return {defense: cost for defense, cost in costs.items() if cost is not None}


def _defense_group(matrix: PayoffMatrix, costs: Mapping[str, Cost], *, attacks: Collection[str] | None) -> DefenseGroup:
    seeds = set.intersection(*(set(matrix.seeds_of(defense, attacks=attacks)) for defense in costs))
    cases = {
        defense: worst
        for defense in costs
        if (worst := _worst_case(matrix, defense, seeds=seeds, attacks=attacks)) is not None
    }
    order = sorted(cases, key=lambda defense: (round(cases[defense].interval.mean, EQUAL_TO), defense))
    found = None
    if seeds:
        rows = [list(cases[defense].values.values()) for defense in order]
        found = compare_all(rows, images=matrix.images, candidates=[cases[defense].near for defense in order])
    first = costs[order[0]]
    return DefenseGroup(
        division=first.division,
        score_class=first.score_class,
        seeds=len(seeds),
        resolved=found.resolved if found else None,
        standings=tuple(
            Standing(defense=defense, cost=costs[defense], worst_case=cases[defense], ranks=ranks)
            for defense, ranks in zip(order, _ranks(found, len(order), largest_first=False), strict=True)
        ),
    )


def _worst_case(
    matrix: PayoffMatrix, defense: str, *, seeds: Set[int], attacks: Collection[str] | None
) -> WorstCase | None:
    """Return the worst case over the seeds of a group, or over the defense's own if the group has none."""
    found = matrix.worst_case(defense, seeds=seeds, attacks=attacks)
    return found if found is not None else matrix.worst_case(defense, attacks=attacks)


def attack_group(matrix: PayoffMatrix) -> AttackGroup:
    """Return the attacks by the mean of their own scores over the defenses without a leak, ranked as one group.

    A seed counts if every attack met every defense on it. An attack that never met all of them has no standing.
    """
    defenses = [defense for defense in matrix.defenses if defense not in matrix.leaked]
    scores = {attack: score for attack in matrix.attacks if (score := _mean_over(matrix, attack, defenses))}
    seeds = sorted(set.intersection(*(set(score) for score in scores.values()))) if scores else []
    if not seeds:
        return AttackGroup(seeds=0, resolved=None, standings=())
    rows = {attack: [score[seed] for seed in seeds] for attack, score in scores.items()}
    order = sorted(rows, key=lambda attack: (-round(statistics.fmean(rows[attack]), EQUAL_TO), attack))
    images = matrix.images * len(defenses)
    ordered = [rows[attack] for attack in order]
    found = compare_all(ordered, images=images)
    both = zip(share_intervals(ordered, images=images), _ranks(found, len(order), largest_first=True), strict=True)
    return AttackGroup(
        seeds=len(seeds),
        resolved=found.resolved if found else None,
        standings=tuple(
            AttackStanding(attack=attack, score=score, ranks=ranks)
            for attack, (score, ranks) in zip(order, both, strict=True)
        ),
    )


def strongest_defense(matrix: PayoffMatrix, defenses: Sequence[str]) -> Strongest | None:
    """Return which of ``defenses`` has the lowest worst case, or None; unranked defenses are left out.

    They are compared over the seeds that all attacks on all of them have in common; the first by name wins a tie.
    """
    met = sorted(defense for defense in defenses if matrix.seeds_of(defense) and defense not in matrix.unranked)
    seeds = sorted(set.intersection(*(set(matrix.seeds_of(defense)) for defense in met))) if met else []
    if not seeds:
        return None
    columns = [[matrix.payoffs.get((attack, defense), {}) for attack in matrix.attacks] for defense in met]
    tables = [[[column[seed] for seed in seeds] for column in table if column] for table in columns]
    found = smallest_maximum(tables, images=matrix.images)
    return Strongest(defense=met[found.place], interval=found.interval)


def _ranks(found: Comparisons | None, players: int, *, largest_first: bool) -> Sequence[RankInterval | None]:
    return [None] * players if found is None else found.ranks(largest_first=largest_first)


def _mean_over(matrix: PayoffMatrix, attack: str, defenses: Sequence[str]) -> dict[int, float]:
    """Return the mean of an attack's own scores over ``defenses``, for each seed on which it met all of them."""
    columns = [matrix.own.get((attack, defense), {}) for defense in defenses]
    seeds = set.intersection(*(set(column) for column in columns)) if columns else set()
    return {seed: statistics.fmean(column[seed] for column in columns) for seed in sorted(seeds)}
