"""A tracker that sends results from a background thread, so that no match waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeAlias

from arena.contracts import MatchResult
from arena.tracking.overview import DescribingTracker, Overview

CLOSE_SECONDS = 30.0  # creating a database alone takes up to 15

Step: TypeAlias = Callable[[], None]


class BackgroundTracker:
    """Sends everything to ``inner`` in order, from a thread of its own, and never raises.

    What could not be sent stays first in the queue and is tried again with the next result, so that nothing is lost if
    a server is away for a while.
    """

    def __init__(self, inner: DescribingTracker) -> None:
        self.failure = ""  # why something has not been sent; final once closed
        self._inner = inner
        self._steps: SimpleQueue[Step | None] = SimpleQueue()
        # A daemon thread, so that a server that hangs does not keep the program from ending.
        self._thread = Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def start(self, tournament: str, config: str) -> None:
        self._steps.put(partial(self._inner.start, tournament, config))

    def record(self, result: MatchResult) -> None:
        self._steps.put(partial(self._inner.record, result))

    def describe(self, overview: Overview) -> None:
        self._steps.put(partial(self._inner.describe, overview))

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Send what is left, for at most ``timeout`` seconds; if something stays unsent, `failure` then says why."""
        self._steps.put(self._inner.close)
        self._steps.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.failure = self.failure or f"not all results could be sent within another {timeout:g} seconds"

    def _work(self) -> None:
        waiting: deque[Step] = deque()
        for step in iter(self._steps.get, None):
            waiting.append(step)
            self.failure = _send(waiting)


def _send(waiting: deque[Step]) -> str:
    """Take the steps in order until one fails, which then stays first; return its error message, or an empty string."""
    while waiting:
        try:
            waiting[0]()
        except Exception as error:  # no error here may stop the matches, since the results are on disk
            return str(error) or type(error).__name__
        waiting.popleft()
    return ""
