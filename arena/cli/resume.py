"""``arena resume``: play what is missing of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arena.cli.watching import announce, watched_run
from arena.runs.folder import open_run_folder, site_of, write_settings
from arena.runs.playing import admit_all


def command(
    folder: Annotated[Path, typer.Argument(help="A run folder that arena run left.")],
) -> None:
    """Play what is missing of a run; what is finished is not played again.

    Example: arena resume runs/demo
    """
    run = open_run_folder(folder)
    terms, settings = run.tournament, run.settings
    admitted = admit_all(terms, site_of(folder, terms, settings))
    run.check_unchanged(admitted.inputs)
    write_settings(folder, settings, admitted)
    announce(terms, admitted, settings)
    watched_run(folder, terms, settings, admitted.matchups, reuse=[])
