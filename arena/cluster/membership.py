"""Starts Ray on this machine or joins a cluster, with explicit settings for security, telemetry, threads and health."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from arena.cluster.scratch import Scratch
from arena.contracts import BadParameter, ServiceUnreachable

ADDRESS_VARIABLE = "RAY_ADDRESS"

PROBE_SECONDS = 5.0  # for the address to answer at all
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # a gRPC client's first bytes
_SETTINGS = 4  # the type of a gRPC server's first frame, in the frame's fourth byte
JOIN_SECONDS = 30  # for the cluster to answer

WORKER_ENVIRONMENT = {
    # One torch thread per actor: actors share the cores, and more threads would slow each other down.
    "OMP_NUM_THREADS": "1",
    # Forwards run in a side thread, where malloc would map and unmap memory for every activation.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONHASHSEED": "0",
}

_HEALTH = {
    # On a cluster that we start, a dead node is noticed in seconds; Ray's defaults take over a minute.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
}

_QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """This process's membership in a Ray cluster; leaving does not end a cluster that was there before."""

    scratch: Scratch | None = None  # of a cluster that was started here: everything that its processes write
    joined: bool = False

    @property
    def started_here(self) -> bool:
        return self.scratch is not None

    def leave(self) -> None:
        """Leave the cluster; if it was started here, end it and remove its files."""
        if self.started_here or self.joined:
            ray.shutdown(wait_for_processes=True)
        if self.scratch is not None:
            self.scratch.remove()


def address_of_environment() -> str | None:
    """Return the cluster's address in ``RAY_ADDRESS`` if it has the form host:port, else None.

    A dashboard's address (``http://...``) is for `ray job submit`, and ``auto`` can mean any cluster on this machine.
    """
    named = os.environ.get(ADDRESS_VARIABLE, "").strip()
    return named if ":" in named and "://" not in named else None


def join(address: str | None) -> Cluster:
    """Start Ray on this machine, or join the cluster at ``address``; a process that is in a cluster stays in it.

    ``RAY_ADDRESS`` is ignored here: the caller decides.

    Raises `BadParameter` if ``address`` is not host:port, and `ServiceUnreachable` if no cluster answers there.
    """
    if ray.is_initialized():
        return Cluster()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray prints the death of each worker on our stdout and has no setting against it; the verdict reports it.
    ray._private.worker._worker_logs_enabled = False
    return _started() if address is None else _joined(address)


def _started() -> Cluster:
    # A local start turns token authentication on. Without our own token it would write one into the home folder, which
    # breaks later clusters of the same user.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    scratch = Scratch.make()  # workers are killed, so the files that they leave must be in it too
    cluster = Cluster(scratch=scratch)
    try:
        # The workers that Ray starts in advance inherit this; with a runtime_env they would be started a second time.
        environment = {**_HEALTH, **os.environ, **WORKER_ENVIRONMENT, "TMPDIR": str(scratch.path)}
        with _environment(environment), _own_sigterm():
            ray.init(
                address="local",  # otherwise Ray would follow RAY_ADDRESS
                num_cpus=os.cpu_count(),
                include_dashboard=False,
                object_store_memory=256 * 2**20,
                _temp_dir=str(scratch.path),
                **_QUIET,
            )
    except BaseException:
        cluster.leave()
        raise
    return cluster


def _joined(address: str) -> Cluster:
    _probe(address)
    node_ip = os.environ.get("ARENA_NODE_IP")  # for a host with several addresses
    extra = {"_node_ip_address": node_ip} if node_ip else {}
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(JOIN_SECONDS))
    try:
        with _own_sigterm():
            ray.init(address=address, runtime_env={"env_vars": WORKER_ENVIRONMENT}, **_QUIET, **extra)
    except Exception as error:
        message = f"the Ray cluster at {address} cannot be joined: {error}"
        raise ServiceUnreachable(message) from error
    return Cluster(joined=True)


def _probe(address: str) -> None:
    """Find out within seconds whether a gRPC server answers at the address; Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        message = f"a Ray cluster's address must be host:port, such as 10.0.0.1:6379, not {address!r}"
        raise BadParameter(message)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_SECONDS) as connection:
            connection.sendall(_HELLO)
            answer = connection.recv(4)
    except (OSError, OverflowError) as error:
        message = (
            f"nothing answers at {address}: {error}; start a cluster with `ray start --head`, or leave --address out"
        )
        raise ServiceUnreachable(message) from error
    if len(answer) < 4 or answer[3] != _SETTINGS:
        message = f"the server at {address} is not a Ray cluster; use the address that `ray start --head` prints"
        raise ServiceUnreachable(message)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep this process's own answer to SIGTERM, if it has one; Ray would replace it by an end without a word."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(before) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started inside the context."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name)
        os.environ.update(before)
