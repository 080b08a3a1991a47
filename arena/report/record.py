"""What a report knows about a run beside its results: what is missing, what could not be read, and what it ran on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from arena.contracts import MatchResult, Matchup


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The contents of a run folder, whatever state it is in.

    ``missing`` are the matchups that have no result, as far as the tournament's file still says who they are, and
    ``unnamed`` is the number of the others. ``problems`` are sentences about what could not be read.
    """

    name: str
    results: tuple[MatchResult, ...]
    folder: Path | None = None  # None: the results come from elsewhere, and there are no transcripts or pictures
    missing: tuple[Matchup, ...] = ()
    unnamed: int = 0
    problems: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)  # empty: not recorded

    @property
    def left(self) -> int:
        """The number of matches without a result."""
        return len(self.missing) + self.unnamed

    @property
    def planned(self) -> int:
        """The number of matches of the tournament."""
        return len(self.results) + self.left
