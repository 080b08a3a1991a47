"""``arena resume``: play what is missing of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arena.cli.watching import announce, watched_run
from arena.cli.wiring import check_all, open_run_folder, site_of, write_settings


def command(
    folder: Annotated[Path, typer.Argument(help="A run folder that arena run left.")],
) -> None:
    """Play what is missing of a run; what is finished is not played again.

    Example: arena resume runs/demo
    """
    terms, settings = open_run_folder(folder)
    matchups, flags = check_all(terms, site_of(folder, terms, settings))
    write_settings(folder, settings, matchups)
    announce(terms, matchups, settings, flags)
    watched_run(folder, terms, settings, matchups, reuse=[])
