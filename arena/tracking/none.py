"""The tracker of those who want none: the journal on disk is enough."""

from __future__ import annotations

from arena.contracts import MatchResult


class NoTracker:
    """Takes everything, keeps nothing."""

    def start(self, tournament: str, config: str) -> None:
        """Nothing to start."""

    def record(self, result: MatchResult) -> None:
        """Nothing to record: the result is on disk already."""

    def close(self) -> None:
        """Nothing to close."""
