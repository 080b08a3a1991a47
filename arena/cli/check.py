"""``arena check``: tests in several matchups whether a player keeps the rules."""

from __future__ import annotations

import dataclasses
import secrets
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from arena.cli.console import output
from arena.cli.options import JsonOption, player, print_json, site
from arena.conformance.checking import check_player
from arena.conformance.elsewhere import Elsewhere
from arena.conformance.finding import PlayerFinding
from arena.contracts import UnknownName
from arena.registry import MANIFEST, Role, complete, current_loader, entry_folder, manifest, names, use_loader

UNFORESEEN = "unforeseen"  # the check whose matchups are drawn from a seed
LARGEST_SEED = 10**6


def command(
    name: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder of an entry, or name of a built-in player.")],
    only: Annotated[
        list[str], typer.Option(metavar="CHECK", help="Run only this check; can be repeated. Default: all.")
    ] = [],  # noqa: B006  # typer reads it
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of the matchups that a player cannot foresee; default: a random one each time."),
    ] = None,
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox", help="Play in the sandbox of tournaments and seasons; default: in this process."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check whether an entry keeps the rules; the exit code is 1 if it does not.

    The player plays on a small victim, and on victims, pools and budgets that it cannot foresee, in two processes.

    Example: arena check agents/starter_attack
    """
    if not sandbox:  # the entry is the author's own
        use_loader(None)
    spec = player(name)
    role = role_of(spec.name)
    seed = secrets.randbelow(LARGEST_SEED) if seed is None else seed
    with Elsewhere(current_loader()) as elsewhere:
        findings = check_player(role, complete(role, spec), site(None), seed=seed, elsewhere=elsewhere, only=only)
    failed = [finding for finding in findings if finding.must and not finding.passed]
    if json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        output.print(_table(name, role, findings))
        for finding in failed:
            seeded = f" --seed {seed}" if finding.check == UNFORESEEN else ""
            boxed = " --sandbox" if sandbox else ""
            command_line = f"arena check {shlex.quote(name)} --only {finding.check}{seeded}{boxed}"
            output.print(f"{finding.name}: {finding.detail}\n  repeat with: {command_line}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def role_of(name: str) -> Role:
    """Return the role of an entry or a built-in player. Raises `UnknownName` and `BadParameter`."""
    path = Path(name).expanduser()
    if path.is_dir() and not (path / MANIFEST).is_file():
        message = f"{name} is a folder without an {MANIFEST}; `arena new attack my_attack` writes a complete entry"
        raise UnknownName(message)
    folder = entry_folder(name)
    if folder is not None:
        return manifest(folder).role
    return "defense" if name in names("defense") else "attack"


def _table(name: str, role: str, findings: list[PlayerFinding]) -> Table:
    table = Table(title=f"{name} ({role})", title_justify="left")
    for column in ("", "check", "kind", "detail"):
        table.add_column(column)
    for finding in findings:
        mark = ("ok", "green") if finding.passed else ("failed", "red") if finding.must else ("note", "yellow")
        table.add_row(Text(*mark), finding.name, "must" if finding.must else "advice", finding.detail[:200])
    return table
