"""Plans a tournament before it starts: what would be refused, what it takes, and when it would be done.

The estimates rest on a probe: one match of each cell, with every training cut short. As many cells are probed as fit
into the time that the probe may take; the others are estimated from those with the same attack or the same defense.
"""

from __future__ import annotations

import heapq
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from arena.contracts import MatchResult, Matchup, UsageError
from arena.match.admission import admit
from arena.match.cache import Cache
from arena.match.site import Site
from arena.match.stages import Stage
from arena.referee.keys import result_key
from arena.referee.probe import Probe, Probed, peak_memory
from arena.referee.tournament import Resources, Tournament
from arena.registry import build_attack, build_defense

PROBE_SECONDS = 60.0  # after which no further cell is probed
RAY_START_SECONDS = 15.0  # until a cluster on this machine takes its first match, with its processes that import torch
RAY_MATCH_SECONDS = 0.15  # per match on Ray: its calls, and moving ledgers and clones between processes
ACTOR_MEMORY = 650 * 2**20  # bytes of a slot or host: 344 MiB once it has imported everything, the rest for its match

PARTS: Mapping[Stage, str] = {
    "victim": "training victims",
    "prepare": "training defenses and surrogates",
    "deploy": "opening oracles",
    "play": "attacks and answers",
    "close": "honest traffic",
    "score": "the referee's clones and scoring",
}
"""What each stage of a match is for a reader."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why matches would be refused, and how many."""

    reason: str
    matches: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """One match to schedule: its own seconds, and what must be trained before it, by key."""

    seconds: float
    trainings: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a tournament takes. ``seconds`` are CPU seconds by part; ``saved`` are those that caches save."""

    matches: int
    reused: int  # results that other runs have already
    trainings: int
    trainings_cached: int
    seconds: Mapping[str, float]
    saved: float
    gpu_seconds: float  # for which slots hold their share of a GPU, if they have one
    memory: int  # bytes, all processes of the run on this machine together
    disk: int  # bytes, transcripts and caches together
    refused: tuple[Refusal, ...]
    failed: tuple[str, ...]  # what went wrong in probed matches, which would end with a verdict
    probed: int  # cells
    cells: int
    jobs: tuple[Job, ...]

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds in all."""
        return sum(self.seconds.values())

    def wall_seconds(self, slots: int, *, on_ray: bool) -> float:
        """Return the seconds from start to end with so many slots, each of which has a core to itself."""
        if not on_ray:
            return schedule(self.jobs, slots=1)
        jobs = [replace(job, seconds=job.seconds + RAY_MATCH_SECONDS) for job in self.jobs]
        return RAY_START_SECONDS + schedule(jobs, slots=slots) if jobs else 0.0


def schedule(jobs: Sequence[Job], *, slots: int) -> float:
    """Return when the last job ends if each starts as soon as a slot is free, in order.

    What is trained for the first job that needs it keeps the others that need it waiting.
    """
    free = [0.0] * slots
    trained: dict[str, float] = {}
    for job in jobs:
        start = heapq.heappop(free)
        for key, seconds in job.trainings:
            start = max(start, trained[key]) if key in trained else start + seconds
            trained.setdefault(key, start)
        heapq.heappush(free, start + job.seconds)
    return max(free)


def refusals(matchups: Iterable[Matchup], site: Site) -> tuple[Refusal, ...]:
    """Return every reason for which matches would be refused before the start, with how many it concerns."""
    found: dict[str, int] = {}
    for matchup in matchups:
        try:
            admit(matchup, build_attack(matchup.attack), build_defense(matchup.defense), site)
        except UsageError as error:
            found[str(error)] = found.get(str(error), 0) + 1
    return tuple(Refusal(reason=reason, matches=matches) for reason, matches in found.items())


def plan(
    tournament: Tournament,
    site: Site,
    *,
    slots: int,
    known: Mapping[str, MatchResult],
    probe_seconds: float = PROBE_SECONDS,
    on_probe: Callable[[int, int], None] = lambda done, cells: None,
) -> Plan:
    """Return what a tournament takes at a site with so many slots; results in ``known`` are not played again.

    ``on_probe`` is told how many of how many cells are probed. If something would be refused, nothing is probed.
    """
    matchups = tournament.matchups()
    refused = refusals(matchups, site)
    new = [] if refused else [matchup for matchup in matchups if result_key(matchup, site) not in known]
    cells = {cell: len(list(group)) for cell, group in itertools.groupby(sorted(new, key=_order(new)), _cell)}
    with tempfile.TemporaryDirectory(prefix="arena-probe-") as work:
        probe = Probe(site=replace(site, work=Path(work) / "ledgers", cache=Path(work) / "cache", pictures=None))
        probed: dict[Matchup, Probed] = {}
        end = time.monotonic() + probe_seconds
        for cell in _crosswise(list(cells)):
            if probed and time.monotonic() > end:
                break
            probed[cell] = probe.of(cell)
            on_probe(len(probed), len(cells))
    estimated = {cell: probed[cell] if cell in probed else _estimated(cell, probed) for cell in cells}
    return _summed(tournament.resources, site, cells, estimated, probed, slots=slots, refused=refused, all_of=matchups)


def _summed(
    resources: Resources,
    site: Site,
    cells: Mapping[Matchup, int],
    estimated: Mapping[Matchup, Probed],
    probed: Mapping[Matchup, Probed],
    *,
    slots: int,
    refused: tuple[Refusal, ...],
    all_of: Sequence[Matchup],
) -> Plan:
    cache = Cache(folder=site.cache)
    seconds = dict.fromkeys(PARTS.values(), 0.0)
    jobs: list[Job] = []
    trainings: dict[str, bool] = {}  # by key, whether the cache holds it
    saved = 0.0
    for cell, matches in cells.items():
        one = estimated[cell]
        cached = {stage: _is_cached(one, stage, cache) for stage in ("victim", "prepare")}
        trainings |= {key: cache.get(key) is not None for key in one.artefacts}
        for stage, taken in one.seconds.items():
            if stage not in cached:
                seconds[PARTS[stage]] += taken * matches
            elif cached[stage]:
                saved += taken
            else:
                seconds[PARTS[stage]] += taken
        keys: dict[Stage, tuple[str, ...]] = {"victim": one.artefacts[:1], "prepare": one.artefacts[1:]}
        needed = tuple(
            (" ".join(keys[stage]), one.seconds.get(stage, 0.0)) for stage in keys if keys[stage] and not cached[stage]
        )
        jobs += [Job(seconds=one.match, trainings=needed)] * matches
    return Plan(
        matches=len(all_of),
        reused=0 if refused else len(all_of) - sum(cells.values()),
        trainings=len(trainings),
        trainings_cached=sum(trainings.values()),
        seconds=seconds,
        saved=saved,
        gpu_seconds=sum(job.seconds for job in jobs) * min(1.0, resources.attack.gpus),
        memory=peak_memory() + (slots + resources.oracles) * ACTOR_MEMORY,
        disk=sum((estimated[cell].ledger_bytes + estimated[cell].cached_bytes) * cells[cell] for cell in cells),
        refused=refused,
        failed=tuple(dict.fromkeys(one.failed for one in probed.values() if one.failed)),
        probed=len(probed),
        cells=len(cells),
        jobs=tuple(jobs),
    )


def _is_cached(one: Probed, stage: str, cache: Cache) -> bool:
    keys = one.artefacts[:1] if stage == "victim" else one.artefacts[1:]
    return bool(keys) and all(cache.get(key) is not None for key in keys)


def _cell(matchup: Matchup) -> Matchup:
    """Return a matchup without its seed: matches of one cell take about as long as one another."""
    return replace(matchup, seed=0)


def _order(matchups: Sequence[Matchup]) -> Callable[[Matchup], int]:
    """Return a sorting key that puts the matchups of a cell together, and cells in the order of the tournament."""
    places: dict[Matchup, int] = {}
    for matchup in matchups:
        places.setdefault(_cell(matchup), len(places))
    return lambda matchup: places[_cell(matchup)]


def _crosswise(cells: Sequence[Matchup]) -> list[Matchup]:
    """Return cells in the order of probing: first those that have something that no cell before them has."""
    seen: set[object] = set()
    first: list[Matchup] = []
    rest: list[Matchup] = []
    for cell in cells:
        terms = {(cell.attack, cell.budget, cell.victim), (cell.defense, cell.knowledge, cell.victim), cell.pool}
        (rest if terms <= seen else first).append(cell)
        seen |= terms
    return [*first, *rest]


def _estimated(cell: Matchup, probed: Mapping[Matchup, Probed]) -> Probed:
    """Return what a cell takes by stage, as the mean of the cells that are most like it."""
    likeness = {other: _likeness(cell, other) for other in probed}
    best = max(likeness.values())
    alike = [probed[other] for other, value in likeness.items() if value == best]
    stages = {stage for one in alike for stage in one.seconds if stage not in ("victim", "prepare")}
    return Probed(
        seconds={stage: sum(one.seconds.get(stage, 0.0) for one in alike) / len(alike) for stage in stages},
        ledger_bytes=sum(one.ledger_bytes for one in alike) // len(alike),
        cached_bytes=sum(one.cached_bytes for one in alike) // len(alike),
    )


def _likeness(cell: Matchup, other: Matchup) -> tuple[bool, bool, bool, bool]:
    return (
        cell.victim == other.victim,
        cell.attack == other.attack,
        cell.budget == other.budget,
        cell.defense == other.defense,
    )
