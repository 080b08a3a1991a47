"""What Prometheus is told of a run."""

from __future__ import annotations

import socket
import urllib.request
from dataclasses import replace

import pytest

from arena.contracts import BadParameter, Verdict
from arena.oracle.meter import BOUNDS, Histogram, Reading
from arena.referee.outlook import NodeLoad, Outlook
from arena.referee.referee import Progress
from arena.runs.metrics import Listening, OracleFigures, RunFigures, offered
from tests.tracking.matches import result

pytest.importorskip("prometheus_client")
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

READING = Reading(
    queries=3,
    rows=30,
    honest_rows=12,
    refusals={"BudgetExhausted": 2},
    charge=Histogram(counts=(1, 2, *[0] * (len(BOUNDS) - 1)), seconds=0.01),
    waiting=1,
)
OUTLOOK = Outlook(
    stages={"play": 2},
    waits={"a process to start": 1},
    nodes={"10.0.0.1": NodeLoad(slots=2, hosts=1)},
    reading=READING,
)


def told(text: str) -> dict[tuple[str, str], float]:
    """The samples by their name and the values of their labels, in the order of the labels' names."""
    return {
        (sample.name, ",".join(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(figures: RunFigures | OracleFigures) -> dict[tuple[str, str], float]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(figures)
    return told(generate_latest(registry).decode())


@pytest.fixture
def figures() -> RunFigures:
    lost = replace(result(0), verdict=Verdict(outcome="infrastructure", fault="arena"))
    made = RunFigures()
    made.watch(slots=4, look=lambda: OUTLOOK)
    for done, last in ((0, lost), (1, replace(result(0), attempt=2)), (2, result(1)), (2, None)):
        made.note(Progress(done=done, running=2, left=5, last=last))
    return made


def test_matches_are_told_by_state_stage_what_they_wait_for_and_verdict(figures: RunFigures):
    found = of(figures)
    assert [found["arena_matches", state] for state in ("done", "running", "left")] == [2, 2, 5]
    assert found["arena_matches_in_stage", "play"] == 2
    assert found["arena_matches_waiting", "a process to start"] == 1
    outcome, fault = result(0).verdict.outcome, result(0).verdict.fault
    assert found["arena_attempts_ended_total", f"{fault},{outcome}"] == 2
    assert found["arena_attempts_ended_total", "arena,infrastructure"] == 1
    assert found["arena_replays_total", ""] == 1
    assert found["arena_slots", ""] == 4
    assert (found["arena_node_slots", "10.0.0.1"], found["arena_node_hosts", "10.0.0.1"]) == (2, 1)


@pytest.mark.parametrize("kind", ["run", "oracle"])
def test_oracles_are_told_by_queries_rows_refusals_and_latencies(figures: RunFigures, kind: str):
    found = of(figures if kind == "run" else OracleFigures(lambda: READING))
    assert found["arena_oracle_queries_total", ""] == 3
    assert (found["arena_oracle_rows_total", "attack"], found["arena_oracle_rows_total", "honest"]) == (30, 12)
    assert found["arena_oracle_refusals_total", "BudgetExhausted"] == 2
    assert found["arena_oracle_calls_waiting", ""] == 1
    buckets = [found["arena_oracle_charge_seconds_bucket", bound] for bound in ("0.0005", "0.001", "10.0", "+Inf")]
    assert buckets == [1, 3, 3, 3]
    assert found["arena_oracle_charge_seconds_count", ""] == 3
    assert found["arena_oracle_charge_seconds_sum", ""] == 0.01
    assert found["arena_oracle_forward_seconds_count", ""] == 0


def test_figures_are_offered_over_http_and_no_longer_afterwards(figures: RunFigures):
    port = free_port()
    address = f"http://127.0.0.1:{port}/metrics"
    with offered(figures, Listening(host="127.0.0.1", port=port)), urllib.request.urlopen(address) as answer:
        assert told(answer.read().decode())["arena_matches", "done"] == 2
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


def test_a_port_that_is_in_use_is_refused(figures: RunFigures):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        at = Listening(host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(BadParameter, match="cannot listen"), offered(figures, at):
            pass


def test_nothing_is_offered_unless_it_is_asked_for(figures: RunFigures):
    with offered(figures, None):
        pass


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("9400", "127.0.0.1", 9400), ("0.0.0.0:9400", "0.0.0.0", 9400), ("[::1]:9400", "::1", 9400)],
)
def test_a_port_alone_means_this_machine(text: str, host: str, port: int):
    assert Listening.read(text) == Listening(host=host, port=port)


@pytest.mark.parametrize("text", ["", "metrics", "10.0.0.1", "1:70000", "-1"])
def test_what_is_no_port_is_refused(text: str):
    with pytest.raises(BadParameter, match="must be a port"):
        Listening.read(text)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
