"""What a defense costs, the division it plays in, and its rank there."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from arena.contracts import MatchResult
from arena.metrics.intervals import Interval, paired_p_value
from arena.payoff.equilibrium import equilibrium
from arena.payoff.matrix import PayoffMatrix

Division = Literal["free", "1pt", "5pt", "open"]
ScoreClass = Literal["scores kept", "labels only"]

BORDERS: tuple[tuple[Division, float], ...] = (("free", 0.0), ("1pt", 0.01), ("5pt", 0.05))
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


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A defense in its division; equal ranks cannot be told apart at these seeds."""

    defense: str
    cost: Cost
    worst_case: Interval
    equilibrium_share: float
    rank: int = 0


def cost_of(results: Iterable[MatchResult]) -> Cost | None:
    """Return the cost of one defended victim, None if no honest row was answered or counted."""
    played = [result for result in results if "utility/accuracy" in result.counts]
    hits, rows = _pooled(played, "utility/accuracy")
    clean, _ = _pooled(played, "utility/clean_accuracy")
    kept, _ = _pooled(played, "utility/kept")
    one_hot, answered = _pooled(played, "utility/one_hot")
    if rows == 0:
        return None
    lost, flips = (clean - hits) / rows, (rows - kept) / rows
    half = Z * math.sqrt(max(flips - lost * lost, 0.0) / rows)
    shifts = [result.measures["utility/l1"] for result in played if "utility/l1" in result.measures]
    l1 = statistics.fmean(shifts) if shifts else None
    only_labels = (answered > 0 and one_hot >= ONE_HOT_SHARE * answered) or (l1 is not None and l1 > SCORES_BOUND)
    return Cost(
        decisions=lost,
        half=half,
        changed=rows - kept,
        rows=rows,
        l1=l1,
        division=_division(lost, rows - kept),
        borderline=rows != kept and any(abs(lost - border) <= half for _, border in BORDERS[1:]),
        score_class="labels only" if only_labels else "scores kept",
    )


def standings(matrix: PayoffMatrix) -> list[Standing]:
    """Return the defenses by division, class, and rank: worst case first, then share in the equilibrium."""
    shares = equilibrium_shares(matrix)
    found = []
    for defense in matrix.defenses:
        cost, worst = cost_of(matrix.of_defense(defense)), matrix.worst_case(defense)
        if cost is not None and worst is not None:
            share = shares.get(defense, 0.0)
            found.append(Standing(defense=defense, cost=cost, worst_case=worst, equilibrium_share=share))
    order: dict[Division, int] = {"free": 0, "1pt": 1, "5pt": 2, "open": 3}
    found.sort(
        key=lambda one: (order[one.cost.division], one.cost.score_class, one.worst_case.mean, -one.equilibrium_share)
    )
    return _ranked(matrix, found)


def equilibrium_shares(matrix: PayoffMatrix) -> dict[str, float]:
    """Return each defense's probability in the equilibrium over the defenses whose column is complete."""
    complete = [
        defense for defense in matrix.defenses if all(matrix.cell(attack, defense) for attack in matrix.attacks)
    ]
    if not complete or not matrix.attacks:
        return {}
    payoffs = [[_mean(matrix, attack, defense) for defense in complete] for attack in matrix.attacks]
    return dict(zip(complete, equilibrium(payoffs).defenses, strict=True))


def _ranked(matrix: PayoffMatrix, ordered: Sequence[Standing]) -> list[Standing]:
    """Give ranks within division and class; one that cannot be told from the one before it shares its rank."""
    ranked: list[Standing] = []
    for standing in ordered:
        peers = [
            other
            for other in ranked
            if (other.cost.division, other.cost.score_class) == (standing.cost.division, standing.cost.score_class)
        ]
        rank = len(peers) + 1
        if peers and not _told_apart(matrix, peers[-1].defense, standing.defense):
            rank = peers[-1].rank
        ranked.append(replace(standing, rank=rank))
    return ranked


def _told_apart(matrix: PayoffMatrix, first: str, second: str) -> bool:
    """Whether the largest payoffs of two defenses differ over paired seeds."""
    columns = [_largest(matrix, defense) for defense in (first, second)]
    seeds = sorted(columns[0].keys() & columns[1].keys())
    return paired_p_value([columns[0][seed] - columns[1][seed] for seed in seeds]) < SHARED_RANK_LEVEL


def _largest(matrix: PayoffMatrix, defense: str) -> dict[int, float]:
    largest: dict[int, float] = {}
    for attack in matrix.attacks:
        for seed, value in matrix.payoffs.get((attack, defense), {}).items():
            largest[seed] = max(value, largest.get(seed, 0.0))
    return largest


def _division(lost: float, changed: int) -> Division:
    if changed == 0:
        return "free"
    return next((division for division, border in BORDERS[1:] if lost <= border), "open")


def _mean(matrix: PayoffMatrix, attack: str, defense: str) -> float:
    cell = matrix.cell(attack, defense)
    assert cell is not None, "only complete columns enter the equilibrium"
    return cell.mean


def _pooled(results: Sequence[MatchResult], key: str) -> tuple[int, int]:
    counts = [result.counts.get(key, (0, 0)) for result in results]
    return sum(hits for hits, _ in counts), sum(total for _, total in counts)
