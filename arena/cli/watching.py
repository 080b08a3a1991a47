"""Shows a run to its user: its size before it starts, its progress, and afterwards its results."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import (
    Progress as Bars,
)
from rich.text import Text

from arena.cli.console import TERMINATED_EXIT, errors, output, stopped, stopped_exit
from arena.cli.logs import json_lines
from arena.cli.own_data import show_own_data
from arena.cluster.membership import ADDRESS_VARIABLE, address_of_environment
from arena.contracts import MatchResult, Matchup, matchup_id
from arena.contracts.flags import MEANINGS
from arena.match.victims import load_splits
from arena.metrics.differences import smallest_difference
from arena.metrics.intervals import MIN_SEEDS
from arena.oracle.interrupts import EndAsked
from arena.payoff.matrix import label
from arena.referee.estimate import seconds_of_training
from arena.referee.referee import Progress, Summary
from arena.referee.tournament import Tournament
from arena.report.files import RESULTS_CSV, RESULTS_JSON
from arena.report.page.writing import REPORT_HTML, write_page
from arena.report.sections.story import Story, story_of
from arena.report.tables import tournament_report
from arena.runs.folder import ARTIFACTS, DATABASE, TRANSCRIPTS, AdmittedMatchups, Settings
from arena.runs.metrics import Listening, RunFigures, offered
from arena.runs.overview import overview_of
from arena.runs.playing import play_run
from arena.runs.progress import Pace
from arena.runs.record import read_record
from arena.tracking.overview import Overview

GRACE_SECONDS = 20.0  # Kubernetes and Slurm kill 30 seconds after SIGTERM, unless they are told otherwise
SHOWN_CELLS = 8  # of a note
PIPE_SECONDS = 15.0  # between two lines of progress if the output is not a terminal
IN_SECONDS, IN_MINUTES = 90.0, 7_200.0  # shorter durations are shown in these units
TYPICAL_SPREAD = 3.0  # points between paired seeds, about as much as in the presets


def announce(tournament: Tournament, admitted: AdmittedMatchups, settings: Settings) -> None:
    """Print how many matches there are, how long they may take, and which differences their seeds can resolve."""
    folder, matchups = Path(settings.data) if settings.data else None, admitted.matchups
    seconds = seconds_of_training(matchups, lambda spec: load_splits(spec, folder).task)
    seeds, whole = len(tournament.seeds), len(tournament.matchups())
    resolvable = smallest_difference(seeds, spread=TYPICAL_SPREAD)
    cells = len(tournament.attacks) * len(tournament.defenses) * seeds
    chosen = f"{len(matchups)} of the {whole}" if len(matchups) < whole else f"{whole}"
    words = (
        f": {chosen} matches = {len(tournament.attacks)} attacks x {len(tournament.defenses)} defenses x "
        f"{seeds} seeds x {whole // max(1, cells)} terms; "
        f"about {duration(seconds)} of training on one core, divided among the slots"
    )
    errors.print(Text.assemble((tournament.name, "bold"), words))
    errors.print(
        f"smallest difference that {seeds} paired seeds can resolve, if they spread by {TYPICAL_SPREAD:g} points: "
        + (f"{resolvable:.1f} points" if resolvable else f"none, because an interval needs at least {MIN_SEEDS} seeds")
    )
    show_own_data((matchup.victim for matchup in matchups), folder)
    for flag, number in admitted.flags.items():
        errors.print(
            Text("note:", style="yellow"),
            f"{number} of {whole} matches: {flag}: {MEANINGS[flag]}{_where(admitted.cells.get(flag, ()))}",
        )


@dataclass(frozen=True, kw_only=True)
class Watching:
    """How a run is watched, and how long its running matches have after SIGTERM."""

    grace: float = GRACE_SECONDS
    metrics: Listening | None = None
    log_json: bool = False


def _where(cells: Sequence[str]) -> str:
    """Return the cells that a note is about, the first ones of many."""
    if not cells:
        return ""
    more = f"; and {len(cells) - SHOWN_CELLS} more cells" if len(cells) > SHOWN_CELLS else ""
    return f" ({'; '.join(cells[:SHOWN_CELLS])}{more})"


def watched_run(
    folder: Path,
    tournament: Tournament,
    settings: Settings,
    matchups: list[Matchup],
    *,
    reuse: Iterable[Path],
    how: Watching = Watching(),
) -> Summary:
    """Play a run with a progress line, then print tables, files and next commands; after Ctrl-C, how to continue.

    After SIGTERM, no match starts any more.
    """
    stories: list[Story] = []
    end, figures = EndAsked(), RunFigures()
    line = _ProgressLine(len(matchups), end, how)
    try:
        with (
            offered(figures, how.metrics),
            json_lines(wanted=how.log_json),
            line.bars,
            end.on_sigterm(seconds=how.grace),
        ):
            summary = play_run(
                folder,
                tournament,
                settings,
                matchups,
                reuse=reuse,
                on_progress=line.show,
                must_end=end.__bool__,
                conclude=functools.partial(_conclude, folder, stories),
                figures=figures,
            )
    except KeyboardInterrupt as interrupt:
        errors.print(f"{stopped(interrupt)}; finished matches are in {folder}. Continue with: arena resume {folder}")
        raise typer.Exit(stopped_exit(interrupt)) from interrupt
    if summary.left:
        errors.print(
            f"terminated; finished matches are in {folder}, and {summary.left} are left. Continue with: "
            f"arena resume {folder}"
        )
        raise typer.Exit(TERMINATED_EXIT)
    output.print(tournament_report(summary.results, stories[-1].found))
    if summary.reused:
        output.print(f"{summary.reused} results were reused from other runs; --no-reuse plays them again.")
    _print_files(folder, settings, summary)
    if any(result.verdict.outcome == "infrastructure" for result in summary.results):
        raise typer.Exit(1)
    return summary


def _conclude(folder: Path, stories: list[Story]) -> Overview:
    """Write the report of a run, add its story to ``stories``, and return what MLflow shows of it."""
    stories.append(story_of(read_record(folder)))
    write_page(stories[-1], folder / REPORT_HTML)
    return overview_of(stories[-1], (folder / REPORT_HTML).read_text(encoding="utf-8"))


class _ProgressLine:
    """The line of a run's progress; where there is no terminal, a line now and then. Faults get a line of their own."""

    def __init__(self, matches: int, end: EndAsked, how: Watching) -> None:
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=errors,
            transient=True,
            disable=how.log_json,
        )
        self._task = self.bars.add_task("starting ...", total=matches)
        self._end, self._how, self._told_end = end, how, False
        self._printed = time.monotonic()  # when the last line was
        self._pace = Pace()

    def show(self, progress: Progress) -> None:
        self._pace.note(progress.done)
        seconds = self._pace.seconds_left(progress.running + progress.left)
        words = f"{progress.running} running, {progress.done} done, {progress.left} left"
        words += f", about {duration(seconds)} to go" if seconds and not self._end else ""
        self.bars.update(self._task, completed=progress.done, description=words)
        if self._how.log_json:
            return
        if not errors.is_terminal and time.monotonic() - self._printed > PIPE_SECONDS:
            self._printed = time.monotonic()
            errors.print(words)
        if progress.last is not None and progress.last.verdict.outcome != "completed":
            self._show_fault(progress.last)
        if self._end and progress.running and not self._told_end:
            self._told_end = True
            self.bars.console.print(
                f"SIGTERM: no match starts any more, and the {progress.running} running have {self._how.grace:g} s to end; "
                "a second signal ends them at once"
            )

    def _show_fault(self, result: MatchResult) -> None:
        verdict, matchup = result.verdict, result.matchup
        self.bars.console.print(
            f"{label(matchup.attack)} against {label(matchup.defense)}, seed {matchup.seed}: "
            f"{verdict.outcome}, fault: {verdict.fault} ({verdict.reason})"
        )


def tell_complete(folder: Path, matches: int) -> None:
    """Print that there is nothing left to play."""
    output.print(f"all {matches} matches are played already; nothing was started. Files: {folder}/{RESULTS_JSON}, ...")
    output.print(f"Next: arena report {folder}   arena verify {folder}   --add-seeds N plays further seeds")


def told_address_of_environment() -> str | None:
    """Return the cluster's address in ``RAY_ADDRESS``, or None, and print whether it is used or ignored."""
    named, address = os.environ.get(ADDRESS_VARIABLE), address_of_environment()
    if address is not None:
        errors.print(f"joining the Ray cluster at {address}, as {ADDRESS_VARIABLE} says")
    elif named:
        errors.print(f"{ADDRESS_VARIABLE}={named} is ignored, because it is not host:port; a cluster is started here")
    return address


def _print_files(folder: Path, settings: Settings, summary: Summary) -> None:
    first = matchup_id(summary.results[0].matchup)
    output.print(
        f"Files: {folder}/{REPORT_HTML}, {RESULTS_JSON}, {RESULTS_CSV}, {TRANSCRIPTS}/, tournament.toml, run.json"
    )
    if summary.tracking_failed:
        output.print(f"MLflow did not receive all results: {summary.tracking_failed}")
        output.print(f"Send the rest later: arena report {folder} --mlflow {settings.mlflow or 'URI'}")
    elif settings.mlflow is None:
        output.print(
            f"In MLflow: mlflow ui --backend-store-uri sqlite:///{folder}/{DATABASE} --artifacts-destination "
            f"{folder}/{ARTIFACTS}"
        )
    output.print(f"Next: arena show {folder} {first}   arena report {folder}   arena new attack mine")


def duration(seconds: float) -> str:
    """Return a duration for a reader, such as ``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < IN_SECONDS:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < IN_MINUTES else f"{seconds / 3600:.1f} h"
