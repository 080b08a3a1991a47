"""Entries: folders with an ``agent.toml`` and the code of a player, imported without changing ``sys.path``."""

from __future__ import annotations

import hashlib
import importlib
import stat
import sys
import tomllib
import types
import typing
from dataclasses import dataclass
from pathlib import Path

from arena.contracts import BadParameter, Need, StopReason, UnknownName, UsageError
from arena.registry.builtins import Role

MANIFEST = "agent.toml"
MAX_BYTES, MAX_FILES = 50 << 20, 2_000
"""What an entry's folder may have: code and small files, not a classifier that was trained somewhere else."""

Player = typing.TypeVar("Player")


def entry_folder(name: str) -> Path | None:
    """Return the folder of an entry if ``name`` is a path to one, else None. Raises `UnknownName` for another path."""
    path = Path(name).expanduser()
    if (path / MANIFEST).is_file():
        return path.resolve()
    if "/" in name:
        message = f"no entry in {name!r}: there is no {path / MANIFEST}; `arena new` writes a complete entry"
        raise UnknownName(message)
    return None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an ``agent.toml`` says: a class in Python, or a command in any language that speaks the protocol."""

    name: str
    role: Role
    entry: str = ""  # "module:Class"
    command: tuple[str, ...] = ()  # of an attack; run in the entry's folder
    needs: frozenset[Need] = frozenset()  # of a command; a class has them itself
    stops_early: frozenset[StopReason] = frozenset()


def manifest(folder: Path) -> Manifest:
    """Return what an ``agent.toml`` says. Raises `BadParameter` if it is not valid."""
    path = folder / MANIFEST
    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{path}: {error}"
        raise BadParameter(message) from error
    command, words = table.pop("command", []), {name: table.pop(name, []) for name in ("needs", "stops_early")}
    valid = all(isinstance(value, str) for value in table.values()) and table.get("role") in ("attack", "defense")
    if command:
        valid = valid and set(table) == {"name", "role"} and _is_command(command) and table["role"] == "attack"
    else:
        valid = valid and set(table) == {"name", "role", "entry"} and ":" in table["entry"] and not any(words.values())
    if not valid:
        message = (
            f'{path} must have exactly name, role = "attack" or "defense", and entry = "module:Class"; an attack may have '
            'command = ["PROGRAM", "ARGUMENT"] instead, with needs and stops_early as lists'
        )
        raise BadParameter(message)
    for name, allowed in (("needs", typing.get_args(Need)), ("stops_early", typing.get_args(StopReason))):
        if not (isinstance(words[name], list) and set(map(str, words[name])) <= set(allowed)):
            message = f"{path}: {name} = {words[name]!r}; allowed are {', '.join(allowed)}"
            raise BadParameter(message)
    return Manifest(
        **table, command=tuple(command), needs=frozenset(words["needs"]), stops_early=frozenset(words["stops_early"])
    )


def _is_command(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) and word for word in value)


def entry_files(folder: Path) -> list[Path]:
    """Return the files of an entry, except compiled ones.

    Raises `BadParameter` for a link, which could lead to other people's files, for anything else that is neither a file
    nor a folder, and for an entry that is too large.
    """
    found, size = [], 0
    for path in folder.rglob("*"):
        if "__pycache__" in path.relative_to(folder).parts:
            continue
        kind = path.lstat()
        if not (stat.S_ISREG(kind.st_mode) or stat.S_ISDIR(kind.st_mode)):
            message = (
                f"{folder}: {path.relative_to(folder)} is a link or no regular file; an entry may have files alone"
            )
            raise BadParameter(message)
        if stat.S_ISREG(kind.st_mode):
            found.append(path)
            size += kind.st_size
        if size > MAX_BYTES or len(found) > MAX_FILES:
            message = f"{folder}: an entry may have {MAX_FILES:,} files and {MAX_BYTES >> 20} MiB; this one has more"
            raise BadParameter(message)
    return sorted(found)


def folder_digest(folder: Path) -> str:
    """Return 16 hex digits over the paths and contents of an entry's files, except compiled ones."""
    state = hashlib.blake2b(digest_size=8)
    for path in entry_files(folder):
        state.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()


def load_entry(role: Role, folder: Path, wanted: type[Player]) -> type[Player]:
    """Import an entry as a package of its own, outside ``sys.path``: two entries may both have a ``sampling.py``."""
    about = manifest(folder)
    if about.role != role:
        message = f"{folder} is an entry for the role {about.role!r}; a {role} is needed here"
        raise BadParameter(message)
    if about.command:
        message = f"{folder} is not Python but a command, which plays only in a sandbox and not inside another player"
        raise BadParameter(message)
    module_name, class_name = about.entry.split(":", 1)
    package = f"_arena_entry_{folder_digest(folder)}"
    if package not in sys.modules:
        root = types.ModuleType(package)
        root.__path__ = [str(folder)]
        sys.modules[package] = root
    try:
        module = importlib.import_module(f"{package}.{module_name}")
    except UsageError:  # the author's own message, for example about a missing package
        raise
    except Exception as error:  # an author's module may raise anything
        message = f"{folder}: {module_name}.py cannot be imported: {type(error).__name__}: {error}"
        raise BadParameter(message) from error
    kind = getattr(module, class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, wanted)):
        message = f"{folder}: {about.entry} is not a class derived from arena.contracts.{wanted.__name__}"
        raise BadParameter(message)
    if not getattr(getattr(kind, "__dataclass_params__", None), "frozen", False):
        message = f"{folder}: {about.entry} must be a dataclass(frozen=True, kw_only=True), so that it cannot change"
        raise BadParameter(message)
    return kind
