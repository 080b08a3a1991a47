"""What a defense costs, the division it plays in, and its rank there; the rank of an attack."""

from __future__ import annotations

import itertools
import math
import statistics
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from arena.contracts import MatchResult
from arena.contracts.scores import CLEAN_ACCURACY, HONEST_ACCURACY, KEPT, L1, ONE_HOT
from arena.metrics.intervals import Interval, mean_interval, paired_p_value
from arena.payoff.equilibrium import equilibrium
from arena.payoff.matrix import PayoffMatrix, pooled

Division = Literal["free", "1pt", "5pt", "open"]
ScoreClass = Literal["scores kept", "labels only"]

DIVISIONS: tuple[Division, ...] = typing.get_args(Division)
BORDERS: tuple[tuple[Division, float], ...] = (("1pt", 0.01), ("5pt", 0.05))  # points of accuracy lost
SCORES_BOUND = 0.5  # mean L1 shift up to which released scores still count as scores
ONE_HOT_SHARE = 0.99  # of released rows: then only labels are left
SHARED_RANK_LEVEL = 0.05
Z = 1.96


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What honest users lose, pooled over all matches of a defended victim; shares, not points."""

    decisions: float  # accuracy lost on honest traffic, refusals counted wrong
    half: float  # of its 95 % interval
    changed: int  # decisions that are not the undefended victim's
    rows: int
    l1: float | None
    division: Division
    borderline: bool
    score_class: ScoreClass

    @property
    def place(self) -> tuple[int, ScoreClass]:
        """Sorts by division, cheapest first, and class: defenses with the same place are ranked together."""
        return DIVISIONS.index(self.division), self.score_class


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A defense in its division; equal ranks cannot be told apart at these seeds."""

    defense: str
    cost: Cost
    worst_case: Interval
    equilibrium_share: float
    rank: int = 0


@dataclass(frozen=True, kw_only=True)
class AttackStanding:
    """An attack by its own score; equal ranks cannot be told apart at these seeds."""

    attack: str
    score: Interval  # over seeds, of the mean over defenses
    equilibrium_share: float
    rank: int = 0


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """How both sides would mix in the equilibrium, by player, and the payoff that they would arrive at."""

    value: float
    attacks: Mapping[str, float]
    defenses: Mapping[str, float]


def cost_of(results: Iterable[MatchResult]) -> Cost | None:
    """Return the cost of one defended victim, None if no honest row was answered or counted."""
    played = [result for result in results if HONEST_ACCURACY in result.counts]
    hits, rows = pooled(played, HONEST_ACCURACY)
    clean, _ = pooled(played, CLEAN_ACCURACY)
    kept, _ = pooled(played, KEPT)
    one_hot, answered = pooled(played, ONE_HOT)
    if rows == 0:
        return None
    lost, flips = (clean - hits) / rows, (rows - kept) / rows
    half = Z * math.sqrt(max(flips - lost * lost, 0.0) / rows)
    shifts = [result.measures[L1] for result in played if L1 in result.measures]
    l1 = statistics.fmean(shifts) if shifts else None
    only_labels = (answered > 0 and one_hot >= ONE_HOT_SHARE * answered) or (l1 is not None and l1 > SCORES_BOUND)
    return Cost(
        decisions=lost,
        half=half,
        changed=rows - kept,
        rows=rows,
        l1=l1,
        division=_division(lost, rows - kept),
        borderline=rows != kept and any(abs(lost - border) <= half for _, border in BORDERS),
        score_class="labels only" if only_labels else "scores kept",
    )


def standings(matrix: PayoffMatrix) -> list[Standing]:
    """Return the defenses by division, class, and rank: worst case first, then share in the equilibrium."""
    mixed = mixture(matrix)
    found = []
    for defense in matrix.defenses:
        cost, worst = cost_of(matrix.of_defense(defense)), matrix.worst_case(defense)
        if cost is not None and worst is not None:
            share = mixed.defenses.get(defense, 0.0) if mixed else 0.0
            found.append(Standing(defense=defense, cost=cost, worst_case=worst, equilibrium_share=share))
    found.sort(key=lambda one: (one.cost.place, one.worst_case.mean, -one.equilibrium_share))
    largest = {defense: _largest(matrix, defense) for defense in matrix.defenses}
    ranked: list[Standing] = []
    for _, peers in itertools.groupby(found, key=lambda one: one.cost.place):
        group = list(peers)
        ranks = _shared_ranks([largest[one.defense] for one in group])
        ranked += [replace(one, rank=rank) for one, rank in zip(group, ranks, strict=True)]
    return ranked


def attack_standings(matrix: PayoffMatrix) -> list[AttackStanding]:
    """Return the attacks by rank: mean of their own scores over all defenses first, then share in the equilibrium.

    A seed counts where the attack met every defense; an attack with no such seed has no standing.
    """
    mixed = mixture(matrix)
    scores = {attack: _mean_over_defenses(matrix, attack) for attack in matrix.attacks}
    found = [
        AttackStanding(
            attack=attack,
            score=mean_interval(list(score.values())),
            equilibrium_share=mixed.attacks.get(attack, 0.0) if mixed else 0.0,
        )
        for attack, score in scores.items()
        if score
    ]
    found.sort(key=lambda one: (-one.score.mean, -one.equilibrium_share))
    ranks = _shared_ranks([scores[one.attack] for one in found])
    return [replace(one, rank=rank) for one, rank in zip(found, ranks, strict=True)]


def mixture(matrix: PayoffMatrix) -> Mixture | None:
    """Return the equilibrium over all attacks and the defenses whose column is complete, None if there is none."""
    complete = [
        defense for defense in matrix.defenses if all(matrix.cell(attack, defense) for attack in matrix.attacks)
    ]
    if not complete:
        return None
    found = equilibrium([[_mean(matrix, attack, defense) for defense in complete] for attack in matrix.attacks])
    return Mixture(
        value=found.value,
        attacks=dict(zip(matrix.attacks, found.attacks, strict=True)),
        defenses=dict(zip(complete, found.defenses, strict=True)),
    )


def told_apart(matrix: PayoffMatrix, first: str, second: str) -> bool:
    """Whether the largest payoffs of two defenses differ over paired seeds."""
    return _differ(_largest(matrix, first), _largest(matrix, second))


def _shared_ranks(ordered: Sequence[Mapping[int, float]]) -> list[int]:
    """Return the ranks of values over seeds, best first; one that cannot be told from the first of a rank shares it."""
    ranks: list[int] = []
    for place, values in enumerate(ordered):
        shares = bool(ranks) and not _differ(ordered[ranks[-1] - 1], values)
        ranks.append(ranks[-1] if shares else place + 1)
    return ranks


def _differ(first: Mapping[int, float], second: Mapping[int, float]) -> bool:
    differences = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
    return paired_p_value(differences) < SHARED_RANK_LEVEL


def _largest(matrix: PayoffMatrix, defense: str) -> dict[int, float]:
    largest: dict[int, float] = {}
    for attack in matrix.attacks:
        for seed, value in matrix.payoffs.get((attack, defense), {}).items():
            largest[seed] = max(value, largest.get(seed, 0.0))
    return largest


def _mean_over_defenses(matrix: PayoffMatrix, attack: str) -> dict[int, float]:
    columns = [matrix.own.get((attack, defense), {}) for defense in matrix.defenses]
    seeds = set.intersection(*(set(column) for column in columns))
    return {seed: statistics.fmean(column[seed] for column in columns) for seed in sorted(seeds)}


def _division(lost: float, changed: int) -> Division:
    if changed == 0:
        return "free"
    return next((division for division, border in BORDERS if lost <= border), "open")


def _mean(matrix: PayoffMatrix, attack: str, defense: str) -> float:
    cell = matrix.cell(attack, defense)
    assert cell is not None, "only complete columns enter the equilibrium"
    return cell.mean
