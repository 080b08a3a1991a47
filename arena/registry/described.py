"""How players from folders are known without importing them: by a description that was made elsewhere.

A process may import entries, as an author's own does, or it is given an `EntryLoader` that knows them from a sandbox.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from arena.contracts import Attack, Defense, Need, Parameter, Promise, Spec, StopReason
from arena.registry.builtins import Role
from arena.registry.entries import entry_folder

SANDBOX = "sandbox"
"""The isolation of a match whose entries ran in sandboxes."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a player says of itself, checked for its form alone: nothing that is scored rests on it."""

    spec: Spec  # complete, with the digest of each entry
    resolved: str  # the player as text, with the values of all fields
    sources: str  # a digest of what its code imports from this package
    about: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)  # the type and default of each field, as text
    needs: frozenset[Need] = frozenset()
    optional_needs: frozenset[Need] = frozenset()
    stops_early: frozenset[StopReason] = frozenset()
    least_budget: int | None = 1  # None: it depends on the task
    suits_every_task: bool = True
    detection_delay: int = 0
    promise: Promise = field(default_factory=Promise)
    sweep: tuple[str, tuple[float, ...]] | None = None
    replaces_victim: bool = False
    command: tuple[str, ...] = ()  # in any language, instead of a class; run in the entry's folder


@runtime_checkable
class Identified(Protocol):
    """A player that a loader built; its class and its fields do not say what it is."""

    @property
    def identity(self) -> str:
        """A digest of its code and of all its parameters."""


class EntryLoader(Protocol):
    """Describes and builds players with entries in them; their code does not run in this process."""

    def describe(self, role: Role, spec: Spec) -> Description:
        """Return what a player says of itself. Raises `UsageError`, with its traceback if its code cannot be run."""

    def attack(self, spec: Spec) -> Attack:
        """Return an attack that is played elsewhere."""

    def defense(self, spec: Spec) -> Defense:
        """Return a defense that is trained and deployed elsewhere."""


_loaders: list[EntryLoader] = []


def use_loader(loader: EntryLoader | None) -> None:
    """Have entries described and built by ``loader`` from now on; None: this process imports them."""
    _loaders[:] = [] if loader is None else [loader]


def current_loader() -> EntryLoader | None:
    """Return the loader in use, None if this process imports entries."""
    return _loaders[-1] if _loaders else None


@contextlib.contextmanager
def loader_in_use(loader: EntryLoader | None) -> Iterator[None]:
    """Use a loader in this context."""
    before = current_loader()
    use_loader(loader)
    try:
        yield
    finally:
        use_loader(before)


def loader_for(spec: Spec) -> EntryLoader | None:
    """Return the loader in use if there is an entry in a spec."""
    return current_loader() if _loaders and entries_in(spec) else None


def isolation_of(*players: Spec, otherwise: str) -> str:
    """Return how players are separated from the referee: ``sandbox`` if that is where the entries among them run."""
    return SANDBOX if any(loader_for(player) is not None for player in players) else otherwise


def entries_in(spec: Spec) -> list[str]:
    """Return the folders of all entries in a spec, as they are named there."""
    found = [spec.name] if entry_folder(spec.name) is not None else []
    for _, value in spec.params:
        found += _entries_in_parameter(value)
    return found


def _entries_in_parameter(value: Parameter) -> list[str]:
    if isinstance(value, Spec):
        return entries_in(value)
    if isinstance(value, tuple):
        return [name for item in value for name in _entries_in_parameter(item)]
    return []
