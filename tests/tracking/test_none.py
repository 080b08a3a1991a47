"""The tracker that does nothing."""

from __future__ import annotations

from arena.contracts import Tracker
from arena.tracking.none import NoTracker
from tests.tracking.matches import result


def test_takes_everything():
    tracker: Tracker = NoTracker()
    tracker.start("digits", "")
    tracker.record(result())
    tracker.close()
