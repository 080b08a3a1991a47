"""What is behind a cell of the payoff matrix and behind a column: tracks, honest users, knowledge, and protection."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from arena.contracts import MatchResult, MeasureName, Track
from arena.contracts import scores as names
from arena.contracts.flags import LEAK, LEAK_NOT_CHECKED
from arena.metrics.intervals import Interval, share_interval
from arena.payoff.cost import Cost, cost_of
from arena.payoff.matrix import PayoffMatrix
from arena.payoff.tradeoff import point_of
from arena.report.players import Player, player_of
from arena.report.sentences import share
from arena.report.served import mean_of


@dataclass(frozen=True, kw_only=True)
class TrackRow:
    """The fidelity to the victim of the three clones of a cell, means over seeds."""

    attack: Player
    defense: Player
    a: Interval | None
    a_hard: Interval | None
    b: Interval | None


@dataclass(frozen=True, kw_only=True)
class HonestRow:
    """What honest users notice of a defense. Calibration errors and shifts are means over matches."""

    defense: Player
    cost: Cost
    refused: float | None  # share of honest rows
    attack_refused: float | None  # share of the attacks' rows
    p50: float | None  # seconds in which the oracle answered an honest call, means over matches of the percentile
    p95: float | None
    calibration: float | None  # expected calibration error
    calibration_clean: float | None  # of the undefended victim on the same rows
    brier_cost: float | None
    largest_shift: float | None  # the largest L1 shift of any honest row


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """What the referee's audit says about a defense's outliers; the least favourable match counts."""

    defense: Player
    knew: tuple[str, ...]
    verdict: str  # "leak", "not checked", "no leak found" or "nothing to leak"
    overlap: float | None  # the largest share of outliers that are rows of the pool
    p_value: float | None  # the largest p-value of the hypothesis that outliers and pool have the same distribution
    power: float | None  # the smallest power of that test
    copies: float | None  # the largest number of near copies


@dataclass(frozen=True, kw_only=True)
class ProtectionPoint:
    """A defense with what it protects and what that costs.

    ``clone`` is the accuracy of the best clone and ``defended`` that of honest answers, both as shares.
    """

    defense: Player
    cost: Cost
    fidelity: Interval  # the worst case
    worst_attack: str
    defended: float | None
    clone: Interval | None
    ranked: bool


def track_rows(matrix: PayoffMatrix) -> tuple[TrackRow, ...]:
    """Return a row for each cell in which any clone was scored."""
    rows = [
        TrackRow(
            attack=player_of(matrix, attack),
            defense=player_of(matrix, defense),
            a=_track(matrix, (attack, defense), "a"),
            a_hard=_track(matrix, (attack, defense), "a-hard"),
            b=_track(matrix, (attack, defense), "b"),
        )
        for attack, defense in itertools.product(matrix.attacks, matrix.defenses)
    ]
    return tuple(row for row in rows if row.a or row.a_hard or row.b)


def honest_rows(matrix: PayoffMatrix) -> tuple[HonestRow, ...]:
    """Return a row for each defense that answered honest users."""
    costs = {defense: cost_of(matrix.of_defense(defense)) for defense in matrix.defenses}
    return tuple(
        _honest_row(matrix, defense, cost, matrix.of_defense(defense))
        for defense, cost in costs.items()
        if cost is not None
    )


def audit_rows(matrix: PayoffMatrix, knew: Sequence[tuple[str, ...]]) -> tuple[AuditRow, ...]:
    """Return a row for each defense; ``knew`` says in words what each of them was given."""
    return tuple(
        AuditRow(
            defense=player_of(matrix, defense),
            knew=known,
            verdict=_verdict(matrix, defense),
            overlap=_extreme(matrix, defense, names.AUDIT_OVERLAP, largest=True),
            p_value=_extreme(matrix, defense, names.AUDIT_P, largest=True),
            power=_extreme(matrix, defense, names.AUDIT_POWER, largest=False),
            copies=_extreme(matrix, defense, names.AUDIT_COPIES, largest=True),
        )
        for defense, known in zip(matrix.defenses, knew, strict=True)
    )


def protection_points(matrix: PayoffMatrix) -> tuple[ProtectionPoint, ...]:
    """Return a point for each defense whose cost and worst case are known, every setting of a parameter by itself."""
    found = []
    for defense in matrix.defenses:
        cost, worst = cost_of(matrix.of_defense(defense)), matrix.worst_case(defense)
        if cost is None or worst is None:
            continue
        point = point_of(matrix, defense)
        found.append(
            ProtectionPoint(
                defense=player_of(matrix, defense),
                cost=cost,
                fidelity=worst.interval,
                worst_attack=matrix.short(worst.attack),
                defended=point.defended if point else None,
                clone=point.clone if point else None,
                ranked=defense not in matrix.unranked,
            )
        )
    return tuple(found)


def _track(matrix: PayoffMatrix, place: tuple[str, str], track: Track) -> Interval | None:
    counts = [result.counts.get(names.clone_count(track, "fidelity")) for result in matrix.results.get(place, ())]
    values = [count.share for count in counts if count is not None and count.total]
    return share_interval(values, images=matrix.images) if values else None


def _honest_row(matrix: PayoffMatrix, defense: str, cost: Cost, played: Sequence[MatchResult]) -> HonestRow:
    return HonestRow(
        defense=player_of(matrix, defense),
        cost=cost,
        refused=share(played, names.REFUSED),
        attack_refused=_refused_of_attacks(played),
        p50=mean_of(played, names.LATENCY_P50),
        p95=mean_of(played, names.LATENCY_P95),
        calibration=mean_of(played, names.ECE),
        calibration_clean=mean_of(played, names.ECE_CLEAN),
        brier_cost=mean_of(played, names.BRIER_COST),
        largest_shift=_extreme(matrix, defense, names.L1_MAX, largest=True),
    )


def _refused_of_attacks(played: Sequence[MatchResult]) -> float | None:
    """Return the share of the attacks' rows that were refused, over the matches that recorded it."""
    recorded = [one for one in played if names.ATTACK_REFUSED in one.measures]
    rows = sum(one.rows for one in recorded)
    return sum(one.measures[names.ATTACK_REFUSED] for one in recorded) / rows if rows else None


def _verdict(matrix: PayoffMatrix, defense: str) -> str:
    played = matrix.of_defense(defense)
    flags = {flag for result in played for flag in result.flags}
    if LEAK in flags:
        return "leak"
    if LEAK_NOT_CHECKED in flags:
        return "not checked"
    return "nothing to leak" if played[0].matchup.knowledge.outliers == "none" else "no leak found"


def _extreme(matrix: PayoffMatrix, defense: str, name: MeasureName, *, largest: bool) -> float | None:
    values = [result.measures[name] for result in matrix.of_defense(defense) if name in result.measures]
    return (max(values) if largest else min(values)) if values else None
