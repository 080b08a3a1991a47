"""A tracker that nobody waits for: one thread sends, while matches play on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeAlias

from arena.contracts import MatchResult, Tracker

CLOSE_SECONDS = 30.0  # a new database alone takes up to 15

Step: TypeAlias = Callable[[], None]


class BackgroundTracker:
    """Sends what it is given to ``inner`` in order, in a thread of its own, and never raises.

    What could not be sent stays first in line and is tried again with the next result, so that a server that was away
    for a while misses nothing.
    """

    def __init__(self, inner: Tracker) -> None:
        self.failure = ""  # why something is not sent yet; final once closed
        self._inner = inner
        self._steps: SimpleQueue[Step | None] = SimpleQueue()
        # A daemon: a server that hangs must not keep the program from ending.
        self._thread = Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def start(self, tournament: str, config: str) -> None:
        self._steps.put(partial(self._inner.start, tournament, config))

    def record(self, result: MatchResult) -> None:
        self._steps.put(partial(self._inner.record, result))

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Send what is left, for at most ``timeout`` seconds; then `failure` says whether something stayed unsent."""
        self._steps.put(self._inner.close)
        self._steps.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.failure = self.failure or f"not all results were sent after {timeout:g} more seconds"

    def _work(self) -> None:
        waiting: deque[Step] = deque()
        for step in iter(self._steps.get, None):
            waiting.append(step)
            self.failure = _send(waiting)


def _send(waiting: deque[Step]) -> str:
    """Take the steps in order; return the words of the one that failed, which stays first, or nothing."""
    while waiting:
        try:
            waiting[0]()
        except Exception as error:  # whatever it is, matches go on: the results are on disk
            return str(error) or type(error).__name__
        waiting.popleft()
    return ""
