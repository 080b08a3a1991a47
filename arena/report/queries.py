"""Fidelity over queries spent, and how many rows it takes to reach a share of the victim's accuracy."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arena.contracts import Count, MatchResult
from arena.contracts import scores as names
from arena.metrics.intervals import Interval, share_interval
from arena.payoff.matrix import PayoffMatrix
from arena.report.players import Player, player_of

TARGETS = (0.80, 0.90, 0.95)
"""The shares of the victim's accuracy for which rows are counted."""
_CURVE = re.compile(r"curve/(\d+)/a/fidelity")


@dataclass(frozen=True, kw_only=True)
class QueryPoint:
    """The clone of track A after so many rows, means over the seeds that measured it."""

    rows: int
    fidelity: Interval
    accuracy: Interval


@dataclass(frozen=True, kw_only=True)
class RowsToReach:
    """The smallest measured number of rows with which a clone reaches ``target`` times the victim's accuracy.

    ``rows`` has one value per seed, None where the budget was not enough; ``most`` is the largest number measured.
    """

    target: float
    rows: tuple[int | None, ...]
    most: int

    @property
    def reached(self) -> int:
        """The number of seeds on which the target was reached."""
        return sum(rows is not None for rows in self.rows)

    @property
    def median(self) -> int | None:
        """The median over seeds, None if the target was not reached on more than half of them."""
        ordered = sorted(self.rows, key=_last_if_none)
        return ordered[len(ordered) // 2] if ordered else None

    @property
    def least(self) -> int | None:
        """The smallest number of rows over seeds, None if no seed reached the target."""
        return min((rows for rows in self.rows if rows is not None), default=None)

    @property
    def largest(self) -> int | None:
        """The largest number of rows over seeds, None if some seed did not reach the target."""
        found = [rows for rows in self.rows if rows is not None]
        return max(found) if found and len(found) == len(self.rows) else None


@dataclass(frozen=True, kw_only=True)
class QueryCurve:
    """One attack against one defense over the rows that it has queried."""

    attack: Player
    defense: Player
    points: tuple[QueryPoint, ...]
    reach: tuple[RowsToReach, ...]  # one per target


def query_curves(matrix: PayoffMatrix) -> tuple[QueryCurve, ...]:
    """Return a curve for each cell whose matches have a clone of track A."""
    curves = []
    for (attack, defense), results in matrix.results.items():
        measured = {result.matchup.seed: found for result in results if (found := _measured(result))}
        if not measured:
            continue
        curves.append(
            QueryCurve(
                attack=player_of(matrix, attack),
                defense=player_of(matrix, defense),
                points=tuple(_points(measured, images=matrix.images)),
                reach=tuple(_reach(results, measured, target) for target in TARGETS),
            )
        )
    return tuple(curves)


@dataclass(frozen=True, kw_only=True)
class _Measured:
    fidelity: float
    accuracy: float


def _measured(result: MatchResult) -> dict[int, _Measured]:
    """Return the scores of track A by the number of rows, with the finished transfer set as the last one."""
    tracks = {int(found[1]): f"curve/{found[1]}/a" for name in result.counts if (found := _CURVE.fullmatch(name))}
    if result.rows:
        tracks.setdefault(result.rows, "a")
    scores: dict[int, _Measured] = {}
    for rows, track in sorted(tracks.items()):
        fidelity, accuracy = (result.counts.get(names.clone_count(track, what)) for what in ("fidelity", "accuracy"))
        if fidelity is not None and accuracy is not None and fidelity.total and accuracy.total:
            scores[rows] = _Measured(fidelity=fidelity.share, accuracy=accuracy.share)
    return scores


def _counted(count: Count | None) -> bool:
    return count is not None and count.total > 0


def _points(measured: Mapping[int, Mapping[int, _Measured]], *, images: int) -> list[QueryPoint]:
    points = []
    for rows in sorted({rows for found in measured.values() for rows in found}):
        here = [found[rows] for found in measured.values() if rows in found]
        points.append(
            QueryPoint(
                rows=rows,
                fidelity=share_interval([one.fidelity for one in here], images=images),
                accuracy=share_interval([one.accuracy for one in here], images=images),
            )
        )
    return points


def _reach(
    results: Sequence[MatchResult], measured: Mapping[int, Mapping[int, _Measured]], target: float
) -> RowsToReach:
    accuracies = {
        result.matchup.seed: count.share
        for result in results
        if _counted(count := result.counts.get(names.VICTIM_ACCURACY)) and count is not None
    }
    fallback = statistics.fmean(accuracies.values()) if accuracies else 1.0
    return RowsToReach(
        target=target,
        rows=tuple(
            min(
                (rows for rows, one in found.items() if one.accuracy >= target * accuracies.get(seed, fallback)),
                default=None,
            )
            for seed, found in sorted(measured.items())
        ),
        most=max(rows for found in measured.values() for rows in found),
    )


def _last_if_none(rows: int | None) -> float:
    return float("inf") if rows is None else rows
