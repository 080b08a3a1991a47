from __future__ import annotations

import os
import signal
import socket
import time

import pytest
import ray

from arena.cluster import membership
from arena.cluster.membership import join
from arena.contracts import BadParameter, ServiceUnreachable


@pytest.fixture
def in_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether other tests have started one or not."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@pytest.mark.usefixtures("in_no_cluster")
def test_an_address_where_nothing_answers_is_said_at_once():
    with socket.socket() as unused:  # bound, and not listening
        unused.bind(("127.0.0.1", 0))
        start = time.monotonic()
        with pytest.raises(ServiceUnreachable, match=r"nothing answers at 127\.0\.0\.1:.*ray start --head"):
            join(f"127.0.0.1:{unused.getsockname()[1]}")
    assert time.monotonic() - start < 6


@pytest.mark.usefixtures("in_no_cluster")
def test_a_port_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(membership, "PROBE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ServiceUnreachable, match="timed out"):
        join(f"127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.ray
def test_a_cluster_answers_the_probe(cluster: object):
    membership._probe(ray.get_runtime_context().gcs_address)


@pytest.mark.usefixtures("in_no_cluster")
@pytest.mark.parametrize("address", ["auto", "10.0.0.1", "host:port", ":6379"])
def test_refuses_what_is_no_address(address: str):
    with pytest.raises(BadParameter, match="host:port"):
        join(address)


@pytest.mark.ray
def test_a_cluster_that_is_there_already_is_not_ended(cluster: object):
    join(None).leave()
    assert ray.is_initialized()


@pytest.mark.ray
def test_the_environment_of_workers_is_not_ours(cluster: object):
    assert "MALLOC_ARENA_MAX" not in os.environ


@pytest.mark.parametrize("own", [signal.SIG_DFL, lambda number, frame: None], ids=["none", "ours"])
def test_ray_s_answer_to_sigterm_replaces_none_of_ours(own: object):
    def ray_s(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, own)
    try:
        with membership._own_sigterm():
            signal.signal(signal.SIGTERM, ray_s)
        assert signal.getsignal(signal.SIGTERM) is (own if callable(own) else ray_s)
    finally:
        signal.signal(signal.SIGTERM, before)
