"""The tracker that does nothing."""

from __future__ import annotations

from arena.tracking.none import NoTracker
from arena.tracking.overview import DescribingTracker, Overview
from tests.tracking.matches import result


def test_takes_everything():
    tracker: DescribingTracker = NoTracker()
    tracker.start("digits", "")
    tracker.record(result())
    tracker.describe(Overview(description=""))
    tracker.close()
