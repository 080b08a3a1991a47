"""What is known of hosts and slots while they run, with actors that a test answers for."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import ray
from ray.exceptions import GetTimeoutError, RayActorError

from arena.cluster import looking
from arena.cluster.looking import HostReadings, Places, outlook_of
from arena.cluster.processes import Process
from arena.oracle.meter import Reading
from arena.referee.outlook import NodeLoad


@dataclass(eq=False)
class Answer:
    """A reference to what an actor returns; None as long as it does not answer."""

    value: object = None


@dataclass(eq=False)
class Host:
    """An oracle host that is asked for its reading."""

    asked: list[Answer] = field(default_factory=list)

    @property
    def reading(self) -> Host:
        return self

    def remote(self) -> Answer:
        self.asked.append(Answer())
        return self.asked[-1]


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(refs: list[Answer], *, timeout: float) -> tuple[list[Answer], list[Answer]]:
        return [ref for ref in refs if ref.value is not None], [ref for ref in refs if ref.value is None]

    def get(ref: Answer, *, timeout: float | None = None) -> object:
        if ref.value is None:
            raise GetTimeoutError
        if isinstance(ref.value, Exception):
            raise ref.value
        return ref.value

    monkeypatch.setattr(ray, "wait", wait)
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(looking, "ASK_SECONDS", 0.0)


def test_hosts_are_asked_again_and_their_last_readings_add_up():
    one, other = Host(), Host()
    processes = [Process(actor=one), Process(actor=other)]
    readings = HostReadings()
    readings.refresh(processes)
    assert readings.total == Reading()
    one.asked[0].value, other.asked[0].value = Reading(rows=3), Reading(rows=4)
    readings.refresh(processes)
    assert readings.total.rows == 7
    one.asked[1].value = Reading(rows=10)
    readings.refresh(processes)
    assert readings.total.rows == 14


def test_a_host_that_does_not_answer_is_not_asked_twice():
    host = Host()
    process = Process(actor=host)
    readings = HostReadings()
    for _ in range(3):
        readings.refresh([process])
    assert len(host.asked) == 1


def test_what_a_dead_host_did_still_counts():
    host = Host()
    process = Process(actor=host)
    readings = HostReadings()
    readings.refresh([process])
    host.asked[0].value = Reading(rows=3)
    readings.refresh([process])
    host.asked[1].value = RayActorError()
    readings.refresh([])
    assert readings.total.rows == 3


def test_actors_are_counted_by_the_address_of_their_node(monkeypatch: pytest.MonkeyPatch):
    nodes = [{"NodeID": "n1", "NodeManagerAddress": "10.0.0.1"}, {"NodeID": "n2", "NodeManagerAddress": "10.0.0.2"}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    slots = [Process(actor=None, node="n1"), Process(actor=None, node="n1"), Process(actor=None)]
    hosts = [Process(actor=None, ready=Answer("n2")), Process(actor=None, ready=Answer())]
    assert Places().of(slots=slots, hosts=hosts) == {
        "10.0.0.1": NodeLoad(slots=2),
        "10.0.0.2": NodeLoad(hosts=1),
        "starting": NodeLoad(slots=1, hosts=1),
    }


def test_a_node_that_has_left_is_shown_by_its_id(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ray, "nodes", list)
    assert Places().of(slots=[Process(actor=None, node="gone")], hosts=[]) == {"gone": NodeLoad(slots=1)}


def test_what_matches_wait_for_is_told_apart():
    outlook = outlook_of(stages=["start", "play"], untrained=[True, False, True], nodes={}, reading=Reading())
    assert outlook.stages == {"start": 1, "play": 1, "waiting": 3}
    assert outlook.waits == {"its victim, which another match trains": 2, "an oracle host": 1, "a process to start": 1}
