"""What a user sees of a run: before it the size of it, during it where it stands, after it what came of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)
from rich.text import Text

from arena.cli.console import errors, output, stopped, stopped_exit
from arena.cluster.membership import ADDRESS_VARIABLE, address_of_environment
from arena.contracts import Matchup, matchup_id
from arena.contracts.flags import MEANINGS
from arena.match.victims import load_splits
from arena.metrics.differences import smallest_difference
from arena.metrics.intervals import MIN_SEEDS
from arena.payoff.matrix import label
from arena.referee.estimate import seconds_of_training
from arena.referee.referee import Progress, Summary
from arena.referee.tournament import Tournament
from arena.report.files import RESULTS_CSV, RESULTS_JSON
from arena.report.tables import tournament_report
from arena.runs.folder import DATABASE, TRANSCRIPTS, AdmittedMatchups, Settings
from arena.runs.playing import play_run

PIPE_SECONDS = 15.0  # between two lines of progress where there is no terminal to redraw
TYPICAL_SPREAD = 3.0  # points between paired seeds; the built-in presets spread about so


def announce(tournament: Tournament, admitted: AdmittedMatchups, settings: Settings) -> None:
    """Say how many matches there are, how long they may take, and what their seeds can resolve."""
    folder, matchups = Path(settings.data) if settings.data else None, admitted.matchups
    seconds = seconds_of_training(matchups, lambda spec: load_splits(spec, folder).task)
    seeds = len(tournament.seeds)
    resolvable = smallest_difference(seeds, spread=TYPICAL_SPREAD)
    cells = len(tournament.attacks) * len(tournament.defenses) * seeds
    words = (
        f": {len(matchups)} matches = {len(tournament.attacks)} attacks x {len(tournament.defenses)} defenses x "
        f"{seeds} seeds x {len(matchups) // max(1, cells)} terms; "
        f"about {_minutes(seconds)} of training on one core, shared by the slots"
    )
    errors.print(Text.assemble((tournament.name, "bold"), words))
    errors.print(
        f"smallest difference that {seeds} paired seeds resolve, if they spread by {TYPICAL_SPREAD:g} points: "
        + (f"{resolvable:.1f} points" if resolvable else f"none, {MIN_SEEDS} seeds are the fewest for an interval")
    )
    for flag, number in admitted.flags.items():
        errors.print(
            Text("note:", style="yellow"),
            f"{number} of {len(matchups)} matches: {f'{flag}: {MEANINGS[flag]}'}",
        )


def watched_run(
    folder: Path, tournament: Tournament, settings: Settings, matchups: list[Matchup], *, reuse: Iterable[Path]
) -> Summary:
    """Run with one progress line; print tables, files and the next commands. Ctrl-C says how to go on."""
    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
    )
    try:
        with bars:
            line = bars.add_task("starting ...", total=len(matchups))

            told = [time.monotonic()]

            def tell(progress: Progress) -> None:
                words = f"{progress.running} running, {progress.done} done, {progress.left} left"
                bars.update(line, completed=progress.done, description=words)
                if not errors.is_terminal and time.monotonic() - told[0] > PIPE_SECONDS:
                    told[0] = time.monotonic()
                    errors.print(words)
                if progress.last is not None and progress.last.verdict.outcome != "completed":
                    verdict, matchup = progress.last.verdict, progress.last.matchup
                    bars.console.print(
                        f"{label(matchup.attack)} against {label(matchup.defense)}, seed {matchup.seed}: "
                        f"{verdict.outcome}, fault: {verdict.fault} ({verdict.reason})"
                    )

            summary = play_run(folder, tournament, settings, matchups, reuse=reuse, on_progress=tell)
    except KeyboardInterrupt as interrupt:
        errors.print(f"{stopped(interrupt)}; what was finished is in {folder}. Go on with: arena resume {folder}")
        raise typer.Exit(stopped_exit(interrupt)) from interrupt
    output.print(tournament_report(summary.results))
    if summary.reused:
        output.print(f"{summary.reused} results were taken over from earlier runs; --no-reuse plays them again.")
    _tell_files(folder, settings, summary)
    if any(result.verdict.outcome == "infrastructure" for result in summary.results):
        raise typer.Exit(1)
    return summary


def told_address_of_environment() -> str | None:
    """Return the cluster that ``RAY_ADDRESS`` names, if it does, and say what becomes of it."""
    named, address = os.environ.get(ADDRESS_VARIABLE), address_of_environment()
    if address is not None:
        errors.print(f"joining the Ray cluster at {address}, which {ADDRESS_VARIABLE} names")
    elif named:
        errors.print(f"{ADDRESS_VARIABLE}={named} is no host:port and is ignored: a cluster is started here")
    return address


def _tell_files(folder: Path, settings: Settings, summary: Summary) -> None:
    first = matchup_id(summary.results[0].matchup)
    output.print(f"Files: {folder}/{RESULTS_JSON}, {RESULTS_CSV}, {TRANSCRIPTS}/, tournament.toml, run.json")
    if summary.tracking_failed:
        output.print(f"MLflow has not got everything: {summary.tracking_failed}")
        output.print(f"Log it later: arena report {folder} --mlflow {settings.mlflow or 'URI'}")
    elif settings.mlflow is None:
        output.print(f"Look at it: mlflow ui --backend-store-uri sqlite:///{folder}/{DATABASE}")
    output.print(f"Next: arena show {folder} {first}   arena report {folder}   arena new attack mine")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
