"""The ranks of defenses, by division and class, and of attacks: each group is one simultaneous statement."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arena.metrics.extremes import smallest_maximum
from arena.metrics.intervals import Interval
from arena.metrics.rank_intervals import Comparisons, RankInterval, compare_all
from arena.metrics.shared_variance import EQUAL_TO, share_intervals
from arena.payoff.cost import Cost, Division, ScoreClass, cost_of
from arena.payoff.matrix import PayoffMatrix, WorstCase


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A defense in its division; ``ranks`` is None where there are too few seeds."""

    defense: str
    cost: Cost
    worst_case: WorstCase  # over the seeds of its group
    ranks: RankInterval | None


@dataclass(frozen=True, kw_only=True)
class DefenseGroup:
    """The defenses of one division and class, the lowest worst case first, of equal ones by name."""

    division: Division
    score_class: ScoreClass
    seeds: int  # that all of them have
    resolved: float | None  # a difference of this size is found about half of the time; None: too few seeds, or equal
    standings: tuple[Standing, ...]


@dataclass(frozen=True, kw_only=True)
class AttackStanding:
    """An attack by its own score, the mean over defenses within each seed."""

    attack: str
    score: Interval
    ranks: RankInterval | None


@dataclass(frozen=True, kw_only=True)
class AttackGroup:
    """The attacks that met every defense, the highest own score first, of equal ones by name."""

    seeds: int  # that all of them have
    resolved: float | None
    standings: tuple[AttackStanding, ...]


def defense_groups(matrix: PayoffMatrix) -> list[DefenseGroup]:
    """Return the defenses by division and class, cheapest first; each group is ranked by the worst case.

    What is tested is what is sorted: the values of the attack that is named for each defense, over the seeds that all
    attacks on all defenses of the group have in common.
    """
    costs = {defense: cost for defense in matrix.defenses if (cost := cost_of(matrix.of_defense(defense))) is not None}
    placed = sorted(costs, key=lambda defense: costs[defense].place)
    groups = []
    for _, members in itertools.groupby(placed, key=lambda defense: costs[defense].place):
        played = {one: costs[one] for one in members if matrix.seeds_of(one)}
        if played:
            groups.append(_defense_group(matrix, played))
    return groups


def _defense_group(matrix: PayoffMatrix, costs: Mapping[str, Cost]) -> DefenseGroup:
    seeds = set.intersection(*(set(matrix.seeds_of(defense)) for defense in costs))
    cases = {
        defense: worst
        for defense in costs
        if (worst := matrix.worst_case(defense, seeds=seeds) or matrix.worst_case(defense)) is not None
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


def attack_group(matrix: PayoffMatrix) -> AttackGroup:
    """Return the attacks by the mean of their own scores over all defenses, ranked as one group.

    A seed counts where every attack met every defense; an attack that never met all of them has no standing.
    """
    scores = {attack: score for attack in matrix.attacks if (score := _mean_over_defenses(matrix, attack))}
    seeds = sorted(set.intersection(*(set(score) for score in scores.values()))) if scores else []
    if not seeds:
        return AttackGroup(seeds=0, resolved=None, standings=())
    rows = {attack: [score[seed] for seed in seeds] for attack, score in scores.items()}
    order = sorted(rows, key=lambda attack: (-round(statistics.fmean(rows[attack]), EQUAL_TO), attack))
    images = matrix.images * len(matrix.defenses)
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


@dataclass(frozen=True, kw_only=True)
class Strongest:
    """The defense whose worst case is the lowest, with an interval that allows for the choice of both."""

    defense: str
    interval: Interval


def strongest_defense(matrix: PayoffMatrix, defenses: Sequence[str]) -> Strongest | None:
    """Return the one of ``defenses`` that leaves the worst attack the least, of equal ones the first by name.

    They are compared over the seeds that all attacks on all of them have in common; None if there are none.
    """
    met = sorted(defense for defense in defenses if matrix.seeds_of(defense))
    seeds = sorted(set.intersection(*(set(matrix.seeds_of(defense)) for defense in met))) if met else []
    if not seeds:
        return None
    columns = [[matrix.payoffs.get((attack, defense), {}) for attack in matrix.attacks] for defense in met]
    tables = [[[column[seed] for seed in seeds] for column in table if column] for table in columns]
    found = smallest_maximum(tables, images=matrix.images)
    return Strongest(defense=met[found.place], interval=found.interval)


def _ranks(found: Comparisons | None, players: int, *, largest_first: bool) -> Sequence[RankInterval | None]:
    return [None] * players if found is None else found.ranks(largest_first=largest_first)


def _mean_over_defenses(matrix: PayoffMatrix, attack: str) -> dict[int, float]:
    columns = [matrix.own.get((attack, defense), {}) for defense in matrix.defenses]
    seeds = set.intersection(*(set(column) for column in columns))
    return {seed: statistics.fmean(column[seed] for column in columns) for seed in sorted(seeds)}
