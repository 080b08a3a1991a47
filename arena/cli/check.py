"""``arena check``: what a player must keep to, on a small victim."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from arena.cli.console import output
from arena.cli.options import JsonOption, player, print_json, site
from arena.contracts import BadParameter, Spec, UnknownName
from arena.match.conformance import Finding, check_attack, check_defense
from arena.match.site import Site
from arena.registry import MANIFEST, Role, build_attack, build_defense, complete, entry_folder, manifest, names


def command(
    name: Annotated[str, typer.Argument(metavar="FOLDER", help="An entry's folder, or a built-in player's name.")],
    json: JsonOption = False,
) -> None:
    """Check an entry: budget, shapes, simplex, determinism, isolation. Must decides (exit code 1), advice does not.

    Example: arena check agents/starter_attack
    """
    spec = player(name)
    role = role_of(spec.name)
    findings = conformance(role, complete(role, spec), site(None))
    failed = [finding for finding in findings if finding.must and not finding.passed]
    if json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        output.print(_table(name, role, findings))
        for finding in failed:
            output.print(f"{finding.name}: {finding.detail}\n  repeat with: arena check {name}")
    if failed:
        raise typer.Exit(1)


def conformance(role: Role, spec: Spec, here: Site) -> list[Finding]:
    """Return every finding about a player, and whether it refuses a parameter that it does not have."""
    if role == "attack":
        findings = check_attack(build_attack(spec), spec, here, undefended=build_defense(Spec(name="none")))
    else:
        findings = check_defense(build_defense(spec), spec, here)
    return [*findings, _refuses_unknown_parameters(role, spec)]


def role_of(name: str) -> Role:
    """Return the role of an entry or built-in. Raises `UnknownName`, `BadParameter`."""
    path = Path(name).expanduser()
    if path.is_dir() and not (path / MANIFEST).is_file():
        message = f"{name} is a folder without an {MANIFEST}; `arena new attack {name}-2` writes one that works"
        raise UnknownName(message)
    folder = entry_folder(name)
    if folder is not None:
        return "attack" if manifest(folder)["role"] == "attack" else "defense"
    return "defense" if name in names("defense") else "attack"


def _refuses_unknown_parameters(role: Role, spec: Spec) -> Finding:
    wrong = Spec(name=spec.name, params=(*spec.params, ("no_such_parameter", 1)), digest=spec.digest)
    try:
        (build_attack if role == "attack" else build_defense)(wrong)
    except BadParameter:
        return Finding(name="refuses parameters that it does not have", passed=True)
    return Finding(name="refuses parameters that it does not have", passed=False, detail="make it a frozen dataclass")


def _table(name: str, role: str, findings: list[Finding]) -> Table:
    table = Table(title=f"{name} ({role})", title_justify="left")
    for column in ("", "check", "kind", "seen"):
        table.add_column(column)
    for finding in findings:
        mark = ("ok", "green") if finding.passed else ("failed", "red") if finding.must else ("note", "yellow")
        table.add_row(Text(*mark), finding.name, "must" if finding.must else "advice", finding.detail[:200])
    return table
