"""``arena merge``: merges parts of one tournament that were played apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arena.cli.console import errors, output
from arena.runs.merging import merge


def command(
    folders: Annotated[list[Path], typer.Argument(help="Run folders of one tournament; their seeds may differ.")],
    out: Annotated[Path, typer.Option(help="The new run folder.")],
) -> None:
    """Merge parts of one tournament, which were played with --only, into a new run folder.

    Each part is verified first. The parts stay as they are.

    Example: arena merge runs/knockoff runs/jbda --out runs/both
    """
    with errors.status("verifying and merging ..."):
        merged = merge(folders, out)
    output.print(f"{merged.results} results of {len(folders)} folders are in {out}")
    if merged.missing:
        output.print(f"{merged.missing} matches are in none of them; play them: arena resume {out}")
    output.print(f"Next: arena report {out}   arena report {out} --mlflow URI")
