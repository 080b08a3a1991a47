"""``arena top``: shows how far a run is, from another shell, while it is being played."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from arena.cli.console import output
from arena.cli.options import JsonOption, print_json
from arena.cli.watching import duration
from arena.runs.progress import RunStatus, WatchedRun

REFRESH_SECONDS = 1.0
BAR_WIDTH = 60


def command(
    folder: Annotated[Path, typer.Argument(help="Run folder.")],
    once: Annotated[
        bool, typer.Option("--once", help="Print the state once and end, as if there is no terminal.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show live how far a run is: matches by stage, pace, time left and faults. The run's files are only read.

    Ends when nobody plays in the folder any more, or with Ctrl-C, which does not touch the run.

    Example: arena top runs/demo
    """
    run = WatchedRun(folder)
    status = run.status()
    if json:
        print_json({"folder": str(folder), **asdict(status)})
        return
    if once or not output.is_terminal:
        output.print(shown(folder, status))
        return
    with Live(shown(folder, status), console=output) as live:
        while status.state == "playing":
            time.sleep(REFRESH_SECONDS)
            status = run.status()
            live.update(shown(folder, status))


def shown(folder: Path, status: RunStatus) -> RenderableType:
    """Return a run's state as it is printed."""
    lines = Table(box=None, show_header=False)
    lines.add_column()
    lines.add_column()
    lines.add_row("matches", f"{status.done} of {status.total} done, {status.running} running, {status.left} left")
    if status.stages:
        lines.add_row("running", ", ".join(f"{number} {stage}" for stage, number in sorted(status.stages.items())))
    for reason, number in sorted(status.waits.items()):
        lines.add_row("waiting", f"{number} for {reason}")
    if status.slots:
        lines.add_row("slots", f"{status.slots}")
    for node, load in sorted(status.nodes.items()):
        lines.add_row("node", f"{node}: " + ", ".join(f"{number} {kind}" for kind, number in load.items()))
    if status.per_minute is not None:
        lines.add_row("pace", f"{status.per_minute:.1f} matches a minute")
    if status.seconds_left is not None and status.left + status.running:
        lines.add_row("time left", f"about {duration(status.seconds_left)}")
    faults = ", ".join(f"{number} {outcome}" for outcome, number in sorted(status.outcomes.items()))
    lines.add_row("faults", faults or "none so far")
    if status.state == "stopped":
        lines.add_row("next", f"arena resume {folder}")
    elif status.state == "finished":
        lines.add_row("next", f"arena report {folder}")
    elif status.silent_seconds is not None:
        lines.add_row("last report", f"{duration(status.silent_seconds)} ago")
    title = Text.assemble((str(folder), "bold"), f": {status.state}")
    return Group(title, ProgressBar(total=max(1, status.total), completed=status.done, width=BAR_WIDTH), lines)
