"""Nobody waits for tracking, and nobody fails through it."""

from __future__ import annotations

from threading import Event

from arena.contracts import MatchResult, ServiceUnreachable
from arena.tracking.background import BackgroundTracker
from arena.tracking.overview import Overview
from tests.tracking.matches import result


class SlowTracker:
    """Does nothing before it is let go."""

    def __init__(self) -> None:
        self.let_go = Event()
        self.done: list[str] = []

    def start(self, tournament: str, config: str) -> None:
        self.let_go.wait()
        self.done.append("start")

    def record(self, result: MatchResult) -> None:
        self.done.append(f"record {result.matchup.seed}")

    def describe(self, overview: Overview) -> None:
        self.done.append(f"describe {overview.description}")

    def close(self) -> None:
        self.done.append("close")


class FlakyTracker(SlowTracker):
    """Its server is away for the first ``failures`` attempts to start."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.let_go.set()
        self.failures = failures

    def start(self, tournament: str, config: str) -> None:
        if self.failures:
            self.failures -= 1
            message = "the server is away"
            raise ServiceUnreachable(message)
        super().start(tournament, config)


def test_takes_results_while_the_server_is_busy_and_sends_them_in_order():
    inner = SlowTracker()
    tracker = BackgroundTracker(inner)
    tracker.start("digits", "")
    tracker.record(result(1))
    tracker.record(result(2))
    tracker.describe(Overview(description="found"))
    assert inner.done == []
    inner.let_go.set()
    tracker.close()
    assert inner.done == ["start", "record 1", "record 2", "describe found", "close"]
    assert tracker.failure == ""


def test_waits_for_a_server_that_hangs_no_longer_than_it_is_told():
    inner = SlowTracker()
    tracker = BackgroundTracker(inner)
    tracker.start("digits", "")
    tracker.close(timeout=0.01)
    assert "not all results could be sent within another" in tracker.failure
    inner.let_go.set()


def test_sends_everything_to_a_server_that_comes_back():
    inner = FlakyTracker(failures=2)
    tracker = BackgroundTracker(inner)
    tracker.start("digits", "")
    tracker.record(result(1))
    tracker.close()
    assert inner.done == ["start", "record 1", "close"]
    assert tracker.failure == ""


def test_says_why_a_server_that_stays_away_got_nothing():
    inner = FlakyTracker(failures=100)
    tracker = BackgroundTracker(inner)
    tracker.start("digits", "")
    tracker.record(result(1))
    tracker.close()
    assert inner.done == []
    assert tracker.failure == "the server is away"
