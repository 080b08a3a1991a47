"""Ray started, or joined, with its settings stated: authentication, telemetry, threads, health checks."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from arena.contracts import BadParameter, ServiceUnreachable

ADDRESS_VARIABLE = "RAY_ADDRESS"

PROBE_SECONDS = 5.0  # for a port to answer at all
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # of a gRPC client: no settings
_SETTINGS = 4  # the kind of frame, in its fourth byte, with which a gRPC server answers
JOIN_SECONDS = 30  # for the cluster behind it

WORKER_ENVIRONMENT = {
    # One torch thread an actor: two cores shared by many threads lose more than they win.
    "OMP_NUM_THREADS": "1",
    # The forward runs in a side thread, whose malloc arena would map and unmap every activation.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONHASHSEED": "0",
}

_HEALTH = {
    # A dead node is seen in seconds on a cluster that we start: Ray's defaults take over a minute for a cut cable.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
}

_QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """This process's part in a Ray cluster; what was there before it came is not ended by its leaving."""

    folder: Path | None = None  # of a cluster that was started here, with everything that its processes write
    joined: bool = False

    @property
    def started_here(self) -> bool:
        return self.folder is not None

    def leave(self) -> None:
        """Leave the cluster; one that was started here ends, and its processes and files with it."""
        if self.started_here or self.joined:
            ray.shutdown(wait_for_processes=True)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def address_of_environment() -> str | None:
    """Return the cluster that ``RAY_ADDRESS`` names as host:port, None if it names none that can be joined so.

    The address of a dashboard (``http://...``) is for `ray job submit`, and ``auto`` may be any cluster of this machine.
    """
    named = os.environ.get(ADDRESS_VARIABLE, "").strip()
    return named if ":" in named and "://" not in named else None


def join(address: str | None) -> Cluster:
    """Start Ray on this machine, or join the cluster at ``address``; does nothing in a process that is in one.

    ``RAY_ADDRESS`` is not looked at here: who asks says where.

    Raises `BadParameter` for what is no address, `ServiceUnreachable` if nothing answers there.
    """
    if ray.is_initialized():
        return Cluster()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray prints the death of each worker on our stdout, whatever is asked of it; a verdict says it.
    ray._private.worker._worker_logs_enabled = False
    return _started() if address is None else _joined(address)


def _started() -> Cluster:
    # A local start turns token authentication on. Without a token of ours it would write one into the home folder,
    # which breaks later clusters of the same user.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # Short, since sockets lie in it; workers are killed, so what they leave behind must lie in it as well.
    cluster = Cluster(folder=Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp")))
    try:
        # The workers that Ray starts ahead inherit this; a runtime_env would have them started a second time.
        with _environment({**_HEALTH, **os.environ, **WORKER_ENVIRONMENT, "TMPDIR": str(cluster.folder)}):
            ray.init(
                address="local",  # else RAY_ADDRESS would decide
                num_cpus=os.cpu_count(),
                include_dashboard=False,
                object_store_memory=256 * 2**20,
                _temp_dir=str(cluster.folder),
                **_QUIET,
            )
    except BaseException:
        cluster.leave()
        raise
    return cluster


def _joined(address: str) -> Cluster:
    _probe(address)
    node_ip = os.environ.get("ARENA_NODE_IP")  # where a host has several addresses
    extra = {"_node_ip_address": node_ip} if node_ip else {}
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(JOIN_SECONDS))
    try:
        ray.init(address=address, runtime_env={"env_vars": WORKER_ENVIRONMENT}, **_QUIET, **extra)
    except Exception as error:
        message = f"what answers at {address} is no Ray cluster that can be joined: {error}"
        raise ServiceUnreachable(message) from error
    return Cluster(joined=True)


def _probe(address: str) -> None:
    """Find out in seconds that no gRPC server answers: Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        message = f"a Ray cluster's address is host:port, such as 10.0.0.1:6379, not {address!r}"
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
        message = f"what answers at {address} is no Ray cluster; its port is the one that `ray start --head` names"
        raise ServiceUnreachable(message)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for processes that are started inside."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name)
        os.environ.update(before)
