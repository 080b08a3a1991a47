"""``arena prune``: frees disk space in the cache or in run folders, after showing what it would free."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from arena.cli.console import output
from arena.cli.options import JsonOption, print_json
from arena.contracts import BadParameter
from arena.match.site import default_cache
from arena.runs.pruning import Prunable, age, cached_files, chosen, remove, size, size_in_words, transcripts_in


def command(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Run folders whose transcripts to prune; default: the cache.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Remove what was not used for this long, such as 12h, 30d or 2w.")
    ] = None,
    down_to: Annotated[
        str | None, typer.Option(help="Remove what was not used for longest, until so much is left, such as 2GB.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this option, it is only shown.")] = False,
    json: JsonOption = False,
) -> None:
    """Show what could be freed in the cache or in run folders by age or size; with --yes, remove it.

    What is cached is trained again when it is needed. A pruned transcript is gone: its result stays, but `arena show`
    cannot print its calls, nor can `arena verify` check them.

    Example: arena prune --older-than 30d
    """
    runs = [folder.resolve() for folder in folders or []]
    if yes and older_than is None and down_to is None:
        message = "--yes needs --older-than or --down-to, which say what to remove; --down-to 0 removes everything"
        raise BadParameter(message)
    files = [file for folder in runs for file in transcripts_in(folder)] if runs else cached_files(default_cache())
    wanted = chosen(
        files,
        now=time.time(),
        older_than=None if older_than is None else age(older_than),
        down_to=None if down_to is None else size(down_to),
    )
    if yes:
        remove(wanted, folders=runs)
    freed = sum(file.size for file in wanted)
    if json:
        listed = [{"path": str(file.path), "kind": file.kind, "bytes": file.size} for file in wanted]
        print_json({"bytes": sum(file.size for file in files), "freed": freed, "removed": yes, "files": listed})
        return
    output.print(_table(files, wanted, where=", ".join(map(str, folders or [default_cache()])), removed=yes))
    if wanted and not yes:
        output.print(f"Nothing was removed. The same command with --yes frees {size_in_words(freed)}.")
    elif older_than is None and down_to is None:
        output.print("Choose what to remove with --older-than, such as 30d, or --down-to, such as 2GB.")


def _table(files: Sequence[Prunable], wanted: Sequence[Prunable], *, where: str, removed: bool) -> Table:
    table = Table(title=where, title_justify="left", box=None)
    for heading in ("kind", "files", "size", "freed" if removed else "would free", ""):
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for kind in [*sorted({file.kind for file in files}), "together"]:
        all_of, chosen_of = ([file for file in some if kind in (file.kind, "together")] for some in (files, wanted))
        sizes = (size_in_words(sum(file.size for file in some)) for some in (all_of, chosen_of))
        whole, part = sizes
        table.add_row(kind, f"{len(all_of):,}", whole, f"{len(chosen_of):,}", part)
    return table
