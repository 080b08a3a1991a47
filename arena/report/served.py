"""What defenses serve and what clones get wrong, cell by cell: values for the tables behind the payoff matrix."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from arena.contracts import TRACKS, Count, MatchResult, MeasureName, Track
from arena.contracts import scores as names
from arena.metrics.intervals import Interval, share_interval
from arena.payoff.matrix import PayoffMatrix, largest_share, pooled
from arena.report.players import Player, player_of
from arena.report.sentences import share


@dataclass(frozen=True, kw_only=True)
class DeployedRow:
    """Fidelity to the victim and to a defense that decides otherwise, and the share of test rows that each gets right."""

    defense: Player
    attack: Player
    to_victim: Interval | None
    to_deployed: Interval | None
    victim_right: float | None
    served_right: float | None


@dataclass(frozen=True, kw_only=True)
class MapRow:
    """Average Drop of the maps that a defense serves on test images, beside the victim's own; means over seeds.

    ``different`` and ``equivalent`` are the largest p-values over seeds, of Wilcoxon's test and of the two one-sided
    tests for a difference within 0.05. ``moved`` counts the images whose class moved, which are left out, and ``blank``
    those of the others whose served map is constant although the victim's own is not.
    """

    defense: Player
    explanation: str
    own: float
    own_deviation: float
    served: float
    served_deviation: float
    difference: float
    low: float
    high: float
    different: float
    equivalent: float
    moved: Count
    blank: Count


@dataclass(frozen=True, kw_only=True)
class ErrorRow:
    """How far the best clone of a cell is from the victim: shares in [0, 1], means over seeds.

    ``test`` and ``uniform`` are the shares of test rows and uniform inputs that it decides otherwise (R_test, R_unif), and
    ``test_distance`` and ``uniform_distance`` the mean total variation distances between the posteriors.
    """

    attack: Player
    defense: Player
    track: Track
    test: float
    test_distance: float | None
    uniform: float | None
    uniform_distance: float | None


def deployed_rows(matrix: PayoffMatrix) -> list[DeployedRow]:
    """Return a row for each attack and each defense that decides any test row otherwise than the victim."""
    return [
        DeployedRow(
            defense=player_of(matrix, defense),
            attack=player_of(matrix, attack),
            to_victim=_largest_over_seeds(matrix, (attack, defense), "fidelity"),
            to_deployed=_largest_over_seeds(matrix, (attack, defense), "fidelity_deployed"),
            victim_right=share(matrix.of_defense(defense), names.VICTIM_ACCURACY),
            served_right=share(matrix.of_defense(defense), names.DEPLOYED_ACCURACY),
        )
        for defense, attack in itertools.product(matrix.defenses, matrix.attacks)
        if _decides_otherwise(matrix, defense)
    ]


def map_rows(matrix: PayoffMatrix) -> list[MapRow]:
    """Return a row for each defense whose matches offer explanations, and for each method of explanation."""
    rows = []
    for defense in matrix.defenses:
        by_method: dict[str, list[MatchResult]] = {}
        for result in matrix.of_defense(defense):
            if result.matchup.explanation is not None and names.DROP_DIFFERENCE in result.measures:
                by_method.setdefault(result.matchup.explanation.name, []).append(result)
        rows += [_map_row(matrix, defense, method, played) for method, played in by_method.items()]
    return rows


def error_rows(matrix: PayoffMatrix) -> list[ErrorRow]:
    """Return a row for each cell that has a clone, of the track whose mean fidelity is the largest."""
    return [
        row
        for attack, defense in itertools.product(matrix.attacks, matrix.defenses)
        if (row := _error_row(matrix, attack, defense)) is not None
    ]


def mean_of(results: Iterable[MatchResult], name: MeasureName) -> float | None:
    """Return the mean of a measure over the results that have it, or None."""
    values = [result.measures[name] for result in results if name in result.measures]
    return statistics.fmean(values) if values else None


def _map_row(matrix: PayoffMatrix, defense: str, method: str, played: Sequence[MatchResult]) -> MapRow:
    once = list({(one.matchup.seed, one.matchup.victim_seed): one for one in played}.values())  # equal for all attacks
    means = {
        name: statistics.fmean(one.measures[name] for one in once)
        for name in (
            names.AVERAGE_DROP_OWN,
            names.DROP_DEVIATION_OWN,
            names.AVERAGE_DROP,
            names.DROP_DEVIATION,
            names.DROP_DIFFERENCE,
            names.DROP_LOW,
            names.DROP_HIGH,
        )
    }
    return MapRow(
        defense=player_of(matrix, defense),
        explanation=method,
        own=means[names.AVERAGE_DROP_OWN],
        own_deviation=means[names.DROP_DEVIATION_OWN],
        served=means[names.AVERAGE_DROP],
        served_deviation=means[names.DROP_DEVIATION],
        difference=means[names.DROP_DIFFERENCE],
        low=means[names.DROP_LOW],
        high=means[names.DROP_HIGH],
        different=max(one.measures[names.DROP_P_DIFFERENT] for one in once),
        equivalent=max(one.measures[names.DROP_P_EQUIVALENT] for one in once),
        moved=pooled(once, names.MAP_MOVED),
        blank=pooled(once, names.MAP_BLANK),
    )


def _error_row(matrix: PayoffMatrix, attack: str, defense: str) -> ErrorRow | None:
    played = matrix.results.get((attack, defense), ())
    fidelities = {track: share(played, names.clone_count(track, "fidelity")) for track in TRACKS}
    scored = {track: value for track, value in fidelities.items() if value is not None}
    if not scored:
        return None
    best = max(scored, key=scored.__getitem__)
    same = share(played, names.clone_count(best, "fidelity_unif"))
    return ErrorRow(
        attack=player_of(matrix, attack),
        defense=player_of(matrix, defense),
        track=best,
        test=1 - scored[best],
        test_distance=mean_of(played, names.clone_measure(best, "tv_test")),
        uniform=None if same is None else 1 - same,
        uniform_distance=mean_of(played, names.clone_measure(best, "tv_unif")),
    )


def _decides_otherwise(matrix: PayoffMatrix, defense: str) -> bool:
    return any(largest_share(result, ("fidelity_deployed",)) is not None for result in matrix.of_defense(defense))


def _largest_over_seeds(matrix: PayoffMatrix, place: tuple[str, str], what: names.CloneCount) -> Interval | None:
    """Return the largest share over tracks of a count in a cell, mean over seeds, None if no match has it."""
    played = matrix.results.get(place, ())
    values = [value for result in played if (value := largest_share(result, (what,))) is not None]
    return share_interval(values, images=matrix.images) if values else None
