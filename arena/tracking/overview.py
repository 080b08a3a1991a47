"""What the parent run of a tournament shows beside its matches: plain values, whoever computes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from arena.contracts import Tracker

Entry: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; every row has an entry for each column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The findings of a tournament, for the page of its parent run.

    ``metrics`` are by name and step, a step being a query budget in rows. ``tables`` are by name, of letters, digits and
    hyphens, the most important ones first. ``files`` are texts by path.
    """

    description: str  # Markdown
    metrics: Mapping[tuple[str, int], float] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


class DescribingTracker(Tracker, Protocol):
    """A tracker that also shows the findings of a tournament; given again, they replace the earlier ones."""

    def describe(self, overview: Overview) -> None: ...
