"""A tracker that records nothing, for runs whose journal on disk is enough."""

from __future__ import annotations

from arena.contracts import MatchResult
from arena.tracking.overview import Overview


class NoTracker:
    """Accepts everything and stores nothing."""

    def start(self, tournament: str, config: str) -> None:
        """Do nothing."""

    def record(self, result: MatchResult) -> None:
        """Do nothing: the result is on disk already."""

    def describe(self, overview: Overview) -> None:
        """Do nothing: the report is on disk already."""

    def close(self) -> None:
        """Do nothing."""
