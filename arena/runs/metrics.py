"""Offers the figures of a run, or of a served oracle, to Prometheus: over HTTP, and only while they are asked for."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from arena.contracts import BadParameter
from arena.oracle.meter import BOUNDS, Histogram, Reading
from arena.referee.outlook import Outlook
from arena.referee.referee import Progress

Family: TypeAlias = Any  # prometheus_client.Metric; the package is imported only if metrics are asked for

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where the figures are offered."""

    host: str
    port: int

    @classmethod
    def read(cls, text: str) -> Listening:
        """Return the place of ``PORT``, which means this machine alone, or of ``HOST:PORT``. Raises `BadParameter`."""
        host, _, port = text.rpartition(":")
        if not port.isdecimal() or int(port) >= 1 << 16:
            message = f"--metrics {text} must be a port, or host:port such as 0.0.0.0:9400"
            raise BadParameter(message)
        return cls(host=host.strip("[]") or LOOPBACK, port=int(port))


class RunFigures:
    """The figures of a run: those of its matches, and those of the oracles that its runner knows."""

    def __init__(self) -> None:
        self._progress = Progress(done=0, running=0, left=0)
        self._ended: Counter[tuple[str, str]] = Counter()
        self._replays = 0
        self._slots = 0
        self._look: Callable[[], Outlook] = Outlook

    def watch(self, *, slots: int, look: Callable[[], Outlook]) -> None:
        """Take the state of matches and oracles from ``look`` from now on."""
        self._slots, self._look = slots, look

    def note(self, progress: Progress) -> None:
        """Count the result that a report of progress brings; one that is played again is counted as an attempt, too."""
        self._progress = progress
        if progress.last is not None:
            verdict = progress.last.verdict
            self._ended[verdict.outcome, verdict.fault] += 1
            self._replays += progress.last.attempt > 1

    def collect(self) -> Iterator[Family]:
        """Yield what Prometheus is told; it calls this from a thread of its own."""
        outlook, progress = self._look(), self._progress
        states = {"done": progress.done, "running": progress.running, "left": progress.left}
        yield _gauge("arena_matches", "Matches of the run.", "state", states)
        yield _gauge("arena_matches_in_stage", "Matches that are running, by stage.", "stage", outlook.stages)
        yield _gauge("arena_matches_waiting", "Matches that cannot go on, by what they wait for.", "for", outlook.waits)
        ended = _metrics().CounterMetricFamily(
            "arena_attempts_ended", "Attempts at matches that ended, by verdict.", labels=["outcome", "fault"]
        )
        for (outcome, fault), number in sorted(self._ended.copy().items()):
            ended.add_metric([outcome, fault], number)
        yield ended
        yield _counter("arena_replays", "Attempts at matches that had been lost before.", self._replays)
        yield _metrics().GaugeMetricFamily("arena_slots", "Matches that can run at once.", value=self._slots)
        nodes = outlook.nodes.items()
        yield _gauge("arena_node_slots", "Attack slots, by node.", "node", {node: load.slots for node, load in nodes})
        yield _gauge("arena_node_hosts", "Oracle hosts, by node.", "node", {node: load.hosts for node, load in nodes})
        yield from oracle_figures(outlook.reading)


@dataclass(frozen=True)
class OracleFigures:
    """The figures of the oracles of one process."""

    reading: Callable[[], Reading]

    def collect(self) -> Iterator[Family]:
        """Yield what Prometheus is told."""
        yield from oracle_figures(self.reading())


def oracle_figures(reading: Reading) -> Iterator[Family]:
    """Yield what the oracles have done."""
    yield _counter("arena_oracle_queries", "Calls of attacks that were answered and charged.", reading.queries)
    rows = _metrics().CounterMetricFamily("arena_oracle_rows", "Rows that were answered.", labels=["traffic"])
    for traffic, number in (("attack", reading.rows), ("honest", reading.honest_rows)):
        rows.add_metric([traffic], number)
    yield rows
    refusals = _metrics().CounterMetricFamily(
        "arena_oracle_refusals", "Calls that were refused and not charged, by reason.", labels=["reason"]
    )
    for reason, number in sorted(reading.refusals.items()):
        refusals.add_metric([reason], number)
    yield refusals
    yield _histogram("arena_oracle_charge_seconds", "From a call's turn to its record on disk.", reading.charge)
    yield _histogram("arena_oracle_forward_seconds", "The defended victim, and the checks.", reading.forward)
    yield _metrics().GaugeMetricFamily(
        "arena_oracle_calls_waiting", "Calls that wait for another call of their match.", value=reading.waiting
    )


@contextlib.contextmanager
def offered(figures: RunFigures | OracleFigures, at: Listening | None) -> Iterator[None]:
    """Offer figures over HTTP, unless ``at`` is None. Raises `BadParameter` if the port cannot be listened on."""
    if at is None:
        yield
        return
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry(auto_describe=False)
    registry.register(figures)
    try:
        server, thread = start_http_server(at.port, addr=at.host, registry=registry)
    except OSError as error:
        message = f"--metrics: cannot listen on {at.host}:{at.port}: {error.strerror}; choose another port"
        raise BadParameter(message) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _metrics() -> Any:
    from prometheus_client import metrics_core

    return metrics_core


def _counter(name: str, meaning: str, value: int) -> Family:
    return _metrics().CounterMetricFamily(name, meaning, value=value)


def _gauge(name: str, meaning: str, label: str, values: Mapping[str, int]) -> Family:
    family = _metrics().GaugeMetricFamily(name, meaning, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _histogram(name: str, meaning: str, histogram: Histogram) -> Family:
    bounds: Iterable[str] = (*map(str, BOUNDS), "+Inf")
    buckets = list(zip(bounds, itertools.accumulate(histogram.counts), strict=True))
    return _metrics().HistogramMetricFamily(name, meaning, buckets=buckets, sum_value=histogram.seconds)
