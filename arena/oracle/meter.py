"""Measures what the oracles of a process do: queries, rows, refusals, and how long charging and answering take."""

from __future__ import annotations

import bisect
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of a histogram's buckets, in seconds; a last bucket holds what took longer."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How often something took how long: a count for each bucket of `BOUNDS`, and the sum of all seconds."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    seconds: float = 0.0

    def __add__(self, other: Histogram) -> Histogram:
        counts = tuple(one + another for one, another in zip(self.counts, other.counts, strict=True))
        return Histogram(counts=counts, seconds=self.seconds + other.seconds)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a meter has counted so far; readings of different processes can be added."""

    queries: int = 0  # calls of attacks that were answered and charged
    rows: int = 0  # rows of attacks that were answered and charged
    honest_rows: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)  # by the name of the error
    charge: Histogram = Histogram()  # everything between the call's turn and its record on disk, the forward included
    forward: Histogram = Histogram()  # the defended victim and the checks of its answer
    waiting: int = 0  # calls that wait for another call of their match

    def __add__(self, other: Reading) -> Reading:
        return Reading(
            queries=self.queries + other.queries,
            rows=self.rows + other.rows,
            honest_rows=self.honest_rows + other.honest_rows,
            refusals=Counter(self.refusals) + Counter(other.refusals),
            charge=self.charge + other.charge,
            forward=self.forward + other.forward,
            waiting=self.waiting + other.waiting,
        )


class Meter:
    """Counts for all the sessions of a process; any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queries = self._rows = self._honest_rows = self._waiting = 0
        self._refusals: Counter[str] = Counter()
        self._charge, self._forward = _Timed(), _Timed()

    @property
    def reading(self) -> Reading:
        with self._lock:
            return Reading(
                queries=self._queries,
                rows=self._rows,
                honest_rows=self._honest_rows,
                refusals=dict(self._refusals),
                charge=self._charge.histogram,
                forward=self._forward.histogram,
                waiting=self._waiting,
            )

    def charged(self, rows: int, *, honest: bool, seconds: float) -> None:
        """Count a call whose answer is recorded."""
        with self._lock:
            self._queries += not honest
            self._rows += 0 if honest else rows
            self._honest_rows += rows if honest else 0
            self._charge.add(seconds)

    def refused(self, error: BaseException) -> None:
        """Count a call that ended with an error, for which nothing was charged."""
        with self._lock:
            self._refusals[type(error).__name__] += 1

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Measure how long an answer takes; one that fails is not counted."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        with self._lock:
            self._forward.add(seconds)

    @contextlib.contextmanager
    def turn(self, lock: threading.RLock) -> Iterator[None]:
        """Hold a lock, and count the call as waiting until then."""
        with self._lock:
            self._waiting += 1
        try:
            lock.acquire()
        finally:
            with self._lock:
                self._waiting -= 1
        try:
            yield
        finally:
            lock.release()


class _Timed:
    """A histogram that grows."""

    def __init__(self) -> None:
        self._counts, self._seconds = [0] * (len(BOUNDS) + 1), 0.0

    @property
    def histogram(self) -> Histogram:
        return Histogram(counts=tuple(self._counts), seconds=self._seconds)

    def add(self, seconds: float) -> None:
        self._counts[bisect.bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds
