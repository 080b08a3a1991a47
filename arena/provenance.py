"""Digests of the code that a result depends on: a module, with everything in this package that it imports."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

PACKAGE = "arena"
NAMES_ALONE = ("arena.contracts", "arena.registry")
"""Packages that no digest covers: they name values and players, and adding a name changes no result."""


@functools.cache
def code_digest_of(module: str) -> str:
    """Return 16 hex digits over the source of a module of this package and of all that it imports, directly or not.

    Changes to a file that none of these modules imports leave the digest unchanged.
    """
    state = hashlib.blake2b(digest_size=8)
    for name in sorted(_closure(module)):
        state.update(f"{name}\0".encode() + _path(name).read_bytes() + b"\0")
    return state.hexdigest()


def sources_digest(paths: Iterable[Path]) -> str:
    """Return 16 hex digits over Python files, wherever they are, and all modules of this package that they import."""
    state = hashlib.blake2b(digest_size=8)
    for path in paths:
        state.update(path.read_bytes() + b"\0")
        for name in sorted(set(_imported(path.read_text(encoding="utf-8")))):
            state.update(code_digest_of(name).encode())
    return state.hexdigest()


def _closure(module: str) -> set[str]:
    found, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _imported(_path(name).read_text(encoding="utf-8"))
    return found


def _imported(source: str) -> list[str]:
    """Return the modules of this package that a source imports by name."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    ours = [name for name in names if name.split(".")[0] == PACKAGE and not name.startswith(NAMES_ALONE)]
    return [name for name in ours if _is_module(name)]


@functools.cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the name is defined inside a module
        return False


def _path(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None, "only modules that exist are looked up"
    assert spec.origin is not None, "the modules of this package are files"
    return Path(spec.origin)
