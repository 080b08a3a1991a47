"""``arena run``: plays a tournament from a file or a preset."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.console import errors, output
from arena.cli.options import (
    AddressOption,
    AddSeedsOption,
    DataOption,
    GraceOption,
    InsecureBindOption,
    LogJsonOption,
    MetricsOption,
    MlflowOption,
    OnlyOption,
    RunnerName,
    UnsafeOption,
    site,
)
from arena.cli.proofs import prove
from arena.cli.watching import (
    GRACE_SECONDS,
    Watching,
    announce,
    tell_complete,
    told_address_of_environment,
    watched_run,
)
from arena.contracts import ArenaError
from arena.referee.journal import JOURNAL
from arena.referee.tournament_file import read_tournament
from arena.registry import use_loader
from arena.runs.continuing import (
    check_same,
    complete_files,
    continue_run_folder,
    holds_a_run,
    unplayed,
    with_more_seeds,
)
from arena.runs.folder import Settings, create_run_folder, open_run_folder, site_of
from arena.runs.metrics import Listening
from arena.runs.playing import admit_all
from arena.runs.presets import find_tournament, preset_names
from arena.runs.selection import Selection

RUNS = Path("runs")


def command(
    tournament: Annotated[str, typer.Argument(help=f"TOML file, or one of the presets {', '.join(preset_names())}.")],
    runner: Annotated[RunnerName, typer.Option(help="On Ray, or locally, one match after another.")] = "ray",
    address: AddressOption = None,
    insecure_bind: InsecureBindOption = False,
    mlflow: MlflowOption = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/NAME-TIME.")] = None,
    data: DataOption = None,
    reuse: Annotated[
        bool, typer.Option(help="Reuse results with the same key from the other run folders in the same place.")
    ] = True,
    only: OnlyOption = None,
    add_seeds: AddSeedsOption = None,
    grace: GraceOption = GRACE_SECONDS,
    unsafe: UnsafeOption = False,
    metrics: MetricsOption = None,
    log_json: LogJsonOption = False,
    proofs: Annotated[
        bool, typer.Option("--prove", help="Afterwards, have a call over budget refused, and replay a match.")
    ] = False,
) -> None:
    """Play a tournament; given again with the same --out, play what is missing there.

    Each result is on disk as soon as it is known. Entries, which are players from folders, run in a sandbox.

    Example: arena run demo --out runs/demo
    """
    if unsafe:
        use_loader(None)
    how = Watching(grace=grace, metrics=Listening.read(metrics) if metrics else None, log_json=log_json)
    terms = read_tournament(find_tournament(tournament))
    terms = terms if add_seeds is None else with_more_seeds(terms, add_seeds)
    folder = out or RUNS / f"{terms.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    before = open_run_folder(folder) if holds_a_run(folder) else None
    if before is not None:
        check_same(before, terms, folder)
    chosen = Selection.read(only or []).of(terms.matchups())
    settings = _settings(runner, address=address, insecure_bind=insecure_bind, mlflow=mlflow, data=data)
    settings = replace(settings, unsafe=unsafe)
    with errors.status("checking every matchup ..."):
        admitted = admit_all(terms, site_of(folder, terms, settings))
    if before is None:
        create_run_folder(folder, terms, settings, admitted)
    else:
        continue_run_folder(folder, before, terms, settings, admitted)
    if before is None or unplayed(folder, chosen):
        announce(terms, replace(admitted, matchups=chosen), settings)
        earlier = [path.parent for path in folder.resolve().parent.glob(f"*/{JOURNAL}")] if reuse else []
        try:
            watched_run(folder, terms, settings, chosen, reuse=earlier, how=how)
        except ArenaError:
            if before is None and not (folder / JOURNAL).exists():  # so that the same command can be given again
                shutil.rmtree(folder)
            raise
    else:
        complete_files(folder)
        tell_complete(folder, len(chosen))
    if proofs:
        output.print(prove(folder, site_of(folder, terms, settings)))


def _settings(
    runner: RunnerName, *, address: str | None, insecure_bind: bool, mlflow: str | None, data: Path | None
) -> Settings:
    if runner == "ray":
        address = address or told_address_of_environment()
    here = site(data)
    return Settings(
        runner=runner,
        address=address,
        insecure_bind=insecure_bind,
        mlflow=mlflow,
        data=str(here.data) if here.data else None,
        cache=str(here.cache),
    )
