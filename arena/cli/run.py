"""``arena run``: plays a tournament from a file or a preset."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.console import errors, output
from arena.cli.options import AddressOption, DataOption, MlflowOption, RunnerName, site
from arena.cli.proofs import prove
from arena.cli.watching import announce, told_address_of_environment, watched_run
from arena.contracts import ArenaError, RunFolderExists
from arena.referee.journal import JOURNAL
from arena.referee.tournament_file import read_tournament
from arena.runs.folder import Settings, create_run_folder, site_of
from arena.runs.playing import admit_all
from arena.runs.presets import find_tournament, preset_names

RUNS = Path("runs")


def command(
    tournament: Annotated[str, typer.Argument(help=f"TOML file, or one of the presets {', '.join(preset_names())}.")],
    runner: Annotated[RunnerName, typer.Option(help="On Ray, or locally, one match after another.")] = "ray",
    address: AddressOption = None,
    mlflow: MlflowOption = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/NAME-TIME.")] = None,
    data: DataOption = None,
    reuse: Annotated[
        bool, typer.Option(help="Reuse results with the same key from the other run folders in the same place.")
    ] = True,
    proofs: Annotated[
        bool, typer.Option("--prove", help="Afterwards, have a call over budget refused, and replay a match.")
    ] = False,
) -> None:
    """Play a tournament; after Ctrl-C, it can be continued with arena resume.

    Each result is on disk as soon as it is known.

    Example: arena run demo --out runs/demo
    """
    terms = read_tournament(find_tournament(tournament))
    if runner == "ray":
        address = address or told_address_of_environment()
    folder = out or RUNS / f"{terms.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    here = site(data)
    settings = Settings(
        runner=runner,
        address=address,
        mlflow=mlflow,
        data=str(here.data) if here.data else None,
        cache=str(here.cache),
    )
    if folder.exists() and (folder / JOURNAL).exists():
        message = f"{folder} holds a run: continue it with `arena resume {folder}`, or choose another folder with --out"
        raise RunFolderExists(message)
    with errors.status("checking every matchup ..."):
        admitted = admit_all(terms, site_of(folder, terms, settings))
    create_run_folder(folder, terms, settings, admitted)
    announce(terms, admitted, settings)
    earlier = [path.parent for path in folder.resolve().parent.glob(f"*/{JOURNAL}")] if reuse else []
    try:
        watched_run(folder, terms, settings, admitted.matchups, reuse=earlier)
    except ArenaError:
        if not (folder / JOURNAL).exists():  # nothing was played, so the same command can be given again
            shutil.rmtree(folder)
        raise
    if proofs:
        output.print(prove(folder, site_of(folder, terms, settings)))
