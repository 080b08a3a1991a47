"""``arena new``: writes a folder with a complete player, to be edited."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from arena.cli.console import output
from arena.contracts import BadParameter, RunFolderExists
from arena.registry import MANIFEST, Role

TEMPLATES = "arena.cli.templates"
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
OPPONENT = {"attack": "--defense mad", "defense": "--attack knockoff"}


def command(
    role: Annotated[Role, typer.Argument(help="The role of the new player.")],
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and single underscores, such as my_attack.")],
    to: Annotated[Path, typer.Option(help="Folder in which the new folder is created.")] = Path("agents"),
) -> None:
    """Write a folder with a working attack or defense, ready to be changed.

    Example: arena new attack my_attack
    """
    folder = write(role, name, to)
    output.print(f"{folder}/: put your idea into agent.py; README.md describes its inputs and outputs. Next:")
    output.print(f"  arena check {folder}\n  arena play --{role} {folder} {OPPONENT[role]}")


def write(role: Role, name: str, to: Path) -> Path:
    """Write the folder ``to/name`` of a new entry and return it. Raises `BadParameter` and `RunFolderExists`."""
    if not NAME.fullmatch(name):
        message = f"{name!r} cannot name an entry; use lower-case letters, digits and single underscores: my_{role}"
        raise BadParameter(message)
    folder = to / name
    if folder.exists():
        message = f"{folder} exists already; choose another name, or another folder with --to"
        raise RunFolderExists(message)
    written = entry_files(role, name, folder)
    try:
        folder.mkdir(parents=True)
        for file, text in written.items():
            (folder / file).write_text(text)
    except OSError as error:
        message = f"cannot write {folder}: {error.strerror}"
        raise BadParameter(message) from error
    return folder


def entry_files(role: Role, name: str, folder: Path) -> dict[str, str]:
    """Return the texts of a new entry by file name; its README names ``folder`` as its place."""
    starter, kind = f"starter_{role}", class_name(role, name)
    names = {f"agents/{starter}": str(folder), starter: name, class_name(role, starter): kind}

    def named(template: str) -> str:
        text = files(TEMPLATES).joinpath(template).read_text()
        return re.sub("|".join(map(re.escape, names)), lambda found: names[found.group()], text)

    return {
        MANIFEST: f'name = "{name}"\nrole = "{role}"\nentry = "agent:{kind}"\n',
        "agent.py": named(f"{role}.py"),
        "README.md": named(f"{role}.md"),
    }


def class_name(role: Role, name: str) -> str:
    """Return the class of an entry: ``my_attack`` becomes ``MyAttack``, ``greedy`` ``GreedyAttack``."""
    words = name.removesuffix(f"_{role}").split("_")
    return "".join(word.capitalize() for word in [*words, role])
