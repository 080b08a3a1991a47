"""Plays the tournament of a run folder: admits every matchup, reuses earlier results, and plays the rest."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from arena.cluster.runner import RayRunner
from arena.contracts import MatchResult, Matchup
from arena.match.admission import admit
from arena.match.site import Site
from arena.payoff.matrix import bare_label
from arena.referee.journal import Journal, read_journal
from arena.referee.keys import inputs_of_all, result_key
from arena.referee.local import LocalRunner
from arena.referee.referee import Progress, Referee, Summary
from arena.referee.tournament import Tournament
from arena.registry import build_attack, build_defense
from arena.report.files import write_results
from arena.runs.folder import (
    TOURNAMENT,
    AdmittedMatchups,
    Settings,
    alone_in,
    file_digest,
    finished_results,
    recorded_inputs,
    site_of,
    transcript_path,
)
from arena.runs.metrics import RunFigures
from arena.runs.progress import ProgressFile
from arena.tracking.background import BackgroundTracker
from arena.tracking.mlflow import MlflowTracker
from arena.tracking.none import NoTracker
from arena.tracking.overview import Overview

TRACKING_SECONDS = 120.0  # how long the tracker may take to finish after the last match
LEAVING_SECONDS = 3.0  # ... if the run was asked to end, because whoever asked may not wait long


def admit_all(tournament: Tournament, site: Site) -> AdmittedMatchups:
    """Admit all matchups of a tournament before anything starts, and return them.

    Raises `UsageError` for the first matchup that cannot be played.
    """
    matchups = tournament.matchups()
    flags: Counter[str] = Counter()
    cells: dict[str, dict[str, None]] = {}
    for matchup in matchups:
        found = admit(matchup, build_attack(matchup.attack), build_defense(matchup.defense), site)
        flags.update(found)
        for flag in found:
            cell = f"{bare_label(matchup.attack)} against {bare_label(matchup.defense)}, {matchup.budget:,} rows"
            cells.setdefault(flag, {})[cell] = None
    return AdmittedMatchups(
        matchups=matchups,
        flags=flags,
        cells={flag: tuple(found) for flag, found in cells.items()},
        inputs=inputs_of_all(matchups, site),
    )


def play_run(
    folder: Path,
    tournament: Tournament,
    settings: Settings,
    matchups: list[Matchup],
    *,
    reuse: Iterable[Path],
    on_progress: Callable[[Progress], None],
    must_end: Callable[[], bool] = lambda: False,
    conclude: Callable[[], Overview] | None = None,
    figures: RunFigures | None = None,
) -> Summary:
    """Play the matchups of a run folder that have no result yet, and write its files; after Ctrl-C it can be resumed.

    Once ``must_end`` returns true, no match starts any more, and matches may be left without a result. When all are
    played and on disk, ``conclude`` is called, and what it returns is shown where the run is tracked. ``figures`` are
    kept up to date.

    Raises `RunFolderBusy` if another process is playing in the folder.
    """
    with alone_in(folder):
        return _run(
            folder,
            tournament,
            settings,
            matchups,
            reuse=reuse,
            on_progress=on_progress,
            must_end=must_end,
            conclude=conclude,
            figures=figures or RunFigures(),
        )


def _run(
    folder: Path,
    tournament: Tournament,
    settings: Settings,
    matchups: list[Matchup],
    *,
    reuse: Iterable[Path],
    on_progress: Callable[[Progress], None],
    must_end: Callable[[], bool],
    conclude: Callable[[], Overview] | None,
    figures: RunFigures,
) -> Summary:
    site = site_of(folder, tournament, settings)
    journal = Journal(folder, transcript_of=lambda result: transcript_digest(folder, result))
    tracker = tracker_of(folder, settings)
    runner = runner_of(site, tournament, settings)
    told = ProgressFile(folder, slots=runner.slots, look=lambda: runner.outlook)
    figures.watch(slots=runner.slots, look=lambda: runner.outlook)
    tracking_seconds = 1.0

    def tell(progress: Progress) -> None:
        told.note(progress)
        figures.note(progress)
        on_progress(progress)

    try:
        tracker.start(tournament.name, (folder / TOURNAMENT).read_text())
        for result in journal.results:
            tracker.record(result)
        referee = Referee(
            runner=runner,
            tracker=tracker,
            journal=journal,
            key_of=functools.partial(result_key, site=site),
            known=earlier_results(reuse, but=folder),
            on_progress=tell,
            replays=tournament.replays,
            must_end=must_end,
        )
        summary = referee.run(matchups)
        tracking_seconds = LEAVING_SECONDS
        if not summary.left:
            write_results(folder, finished_results(folder).results)  # with those of earlier selections
            tracking_seconds = TRACKING_SECONDS
            if conclude is not None:
                tracker.describe(conclude())
    finally:
        told.end()
        runner.close()
        tracker.close(timeout=tracking_seconds)
    return replace(summary, tracking_failed=summary.tracking_failed or tracker.failure)


def runner_of(site: Site, tournament: Tournament, settings: Settings) -> LocalRunner | RayRunner:
    """Return the runner that the settings name."""
    if settings.runner == "local":
        return LocalRunner(site)
    return RayRunner(
        site,
        resources=tournament.resources,
        address=settings.address,
        replays=tournament.replays,
        encrypted=not settings.insecure_bind,
    )


def tracker_of(folder: Path, settings: Settings) -> BackgroundTracker:
    """Return the tracker that the settings name, in a thread of its own, so that it never delays a match."""
    if settings.mlflow == "none":
        return BackgroundTracker(NoTracker())
    inner = MlflowTracker.for_folder(folder, settings.mlflow or "", digests=recorded_inputs(folder))
    return BackgroundTracker(inner)


def transcript_digest(folder: Path, result: MatchResult) -> str:
    """Return the digest of the file with a result's transcript, or an empty string if its oracle never closed."""
    return file_digest(transcript_path(folder, result)) if result.transcript_digest else ""


def earlier_results(folders: Iterable[Path], *, but: Path) -> dict[str, MatchResult]:
    """Return the results of other run folders by key; journals that cannot be read are skipped."""
    known: dict[str, MatchResult] = {}
    for folder in folders:
        if folder.resolve() != but.resolve():
            try:
                known |= {result.key: result for result in read_journal(folder) if result.key}
            except (OSError, ValueError, TypeError, KeyError):
                continue
    return known
