"""``arena verify``: verifies that the files of a run agree with one another."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from arena.cli.console import errors, output
from arena.cli.options import JsonOption, print_json
from arena.runs.verifying import verify

DAMAGED_EXIT = 1


def command(
    folder: Annotated[
        Path, typer.Argument(help="Run folder; it may be unfinished, and another process may play in it.")
    ],
    json: JsonOption = False,
) -> None:
    """Verify a run: hash chains, charges, results, keys and transcripts must agree. Nothing is written.

    Each damaged thing is one line, and the exit code is then 1.

    Example: arena verify runs/demo
    """
    with errors.status("verifying ..."):
        found = verify(folder)
    if json:
        print_json({"folder": str(folder), "damaged": bool(found.damages), **asdict(found)})
    else:
        for damage in found.damages:
            output.print(Text.assemble(("damaged: ", "bold red"), f"{damage.what}: {damage.problem}"), soft_wrap=True)
        for note in found.notes:
            output.print(Text.assemble(("note: ", "yellow"), note), soft_wrap=True)
        verdict = f"{len(found.damages)} damaged" if found.damages else "nothing is damaged"
        output.print(f"{found.results} results and {found.transcripts} transcripts verified: {verdict}")
    if found.damages:
        raise typer.Exit(DAMAGED_EXIT)
