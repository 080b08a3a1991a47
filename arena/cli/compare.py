"""``arena compare``: what moved between two tournaments."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from arena.cli.console import errors, output
from arena.cli.options import JsonOption, print_json
from arena.contracts import UnknownName, to_json
from arena.report.movement import Movements, movements
from arena.report.movement_tables import missing_sheet, movement_sheet, verdict
from arena.report.sheet_tables import sheet_table
from arena.runs.record import read_record

FailOn = Literal["worse", "moved"]
MOVED_EXIT = 1


def command(
    before: Annotated[Path, typer.Argument(help="Run folder of the first tournament.")],
    after: Annotated[Path, typer.Argument(help="Run folder of the second tournament.")],
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            help=f"Exit with {MOVED_EXIT} if something moved for the worse, or at all. Worse: clones are more faithful, or "
            "honest users lose more."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show also what did not move.")] = False,
    json: JsonOption = False,
) -> None:
    """Compare two tournaments, paired where they have the same seeds, with intervals and corrected tests.

    Example: arena compare runs/before runs/after --fail-on worse
    """
    first, second = read_record(before), read_record(after)
    found = movements(first.results, second.results)
    for record in (first, second):
        for problem in record.problems:
            errors.print(f"{record.folder}: {problem}")
        if record.left:
            errors.print(f"{record.folder}: {record.left} of {record.planned} matches have no result")
    _check_comparable(found, fail_on)
    if json:
        print_json({"verdict": verdict(found), **{key: to_json(value) for key, value in asdict(found).items()}})
    else:
        _print(found, everything=everything)
    if (fail_on == "worse" and found.worse) or (fail_on == "moved" and found.moved):
        raise typer.Exit(MOVED_EXIT)


def _check_comparable(found: Movements, fail_on: FailOn | None) -> None:
    """Raise `UnknownName` if nothing can be compared, or if nothing was tested although the exit code depends on it."""
    if not found.found:
        message = "the two tournaments have no attack, defense and setting in common, so nothing can be compared"
        raise UnknownName(message)
    if fail_on is not None and len(found.untested) == len(found.found):
        message = f"nothing could be tested, so --fail-on {fail_on} has no answer: {verdict(found)}"
        raise UnknownName(message)


def _print(found: Movements, *, everything: bool) -> None:
    sheet = movement_sheet(found, everything=everything)
    if sheet.rows:
        output.print(sheet_table(sheet))
    for cells, only in ((found.only_before, "first"), (found.only_after, "second")):
        if cells:
            output.print(sheet_table(missing_sheet(cells, only=only)))
    output.print(verdict(found))
