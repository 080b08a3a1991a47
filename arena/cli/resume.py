"""``arena resume``: plays the missing matches of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.console import errors
from arena.cli.options import (
    AddSeedsOption,
    GraceOption,
    InsecureBindOption,
    LogJsonOption,
    MetricsOption,
    OnlyOption,
    RunnerName,
    UnsafeOption,
    site,
)
from arena.cli.watching import GRACE_SECONDS, Watching, announce, told_address_of_environment, watched_run
from arena.contracts import BadParameter
from arena.registry import use_loader
from arena.runs.continuing import continue_run_folder, with_more_seeds
from arena.runs.folder import Settings, open_run_folder, site_of
from arena.runs.metrics import Listening
from arena.runs.playing import admit_all
from arena.runs.selection import Selection


def command(
    folder: Annotated[Path, typer.Argument(help="Run folder of an earlier `arena run`.")],
    runner: Annotated[
        RunnerName | None,
        typer.Option(help="On Ray, or locally, one match after another; default: as before."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to join, as HOST:PORT; default: as before, else RAY_ADDRESS.")
    ] = None,
    insecure_bind: InsecureBindOption = False,
    mlflow: Annotated[
        str | None, typer.Option(help="Address of an MLflow server, or none; default: as before.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with data sets in torchvision's layout; default: as before.")
    ] = None,
    only: OnlyOption = None,
    add_seeds: AddSeedsOption = None,
    grace: GraceOption = GRACE_SECONDS,
    unsafe: UnsafeOption = False,
    metrics: MetricsOption = None,
    log_json: LogJsonOption = False,
) -> None:
    """Play the missing matches of a run; with --add-seeds, play further seeds of it.

    Example: arena resume runs/demo
    """
    if unsafe:
        use_loader(None)
    how = Watching(grace=grace, metrics=Listening.read(metrics) if metrics else None, log_json=log_json)
    run = open_run_folder(folder)
    if run.settings.unsafe and not unsafe:  # not taken from the folder, which may be somebody else's
        message = f"the entries of {folder} ran without a sandbox; add --unsafe to continue like that"
        raise BadParameter(message)
    terms = run.tournament if add_seeds is None else with_more_seeds(run.tournament, add_seeds)
    settings = _settings(run.settings, runner=runner, address=address, mlflow=mlflow, data=data)
    settings = replace(settings, unsafe=unsafe, insecure_bind=insecure_bind)
    chosen = Selection.read(only or []).of(terms.matchups())
    with errors.status("checking every matchup ..."):
        admitted = admit_all(terms, site_of(folder, terms, settings))
    continue_run_folder(folder, run, terms, settings, admitted)
    announce(terms, replace(admitted, matchups=chosen), settings)
    watched_run(folder, terms, settings, chosen, reuse=[], how=how)


def _settings(
    before: Settings, *, runner: RunnerName | None, address: str | None, mlflow: str | None, data: Path | None
) -> Settings:
    """Return the settings with which the run continues: the earlier ones, except for those given now."""
    after = replace(before, runner=runner or before.runner, mlflow=mlflow or before.mlflow)
    if after.runner == "ray":
        after = replace(after, address=address or before.address or told_address_of_environment())
    if data is not None:
        after = replace(after, data=str(site(data).data))
    return after
