"""Ray started, or joined, with its settings stated: authentication, telemetry, threads, health checks."""

from __future__ import annotations

import os
import secrets
import tempfile
from typing import Any

import ray

from arena.contracts import ServiceUnreachable

JOIN_SECONDS = 30

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


def join(address: str | None) -> None:
    """Start Ray on this machine, or join the cluster at ``address``; does nothing if this process has joined one.

    Raises `ServiceUnreachable` if nothing answers there.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    if address is not None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # the cluster's own mode is set by whoever runs it
        _join_cluster(address, quiet)
        return
    for name, value in _HEALTH.items():
        os.environ.setdefault(name, value)
    # A local start turns token authentication on. Without a token of ours it would write one into the home folder,
    # which breaks later clusters of the same user. The mode itself was read when ray was imported.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray.init(
        num_cpus=os.cpu_count(),
        include_dashboard=False,
        object_store_memory=256 * 2**20,
        _temp_dir=tempfile.mkdtemp(prefix="ray-", dir="/tmp"),
        **quiet,
    )


def leave() -> None:
    """Leave the cluster; one that `join` started ends with all its processes."""
    ray.shutdown()


def _join_cluster(address: str, quiet: dict[str, Any]) -> None:
    node_ip = os.environ.get("ARENA_NODE_IP")  # where a host has several addresses
    extra = {"_node_ip_address": node_ip} if node_ip else {}
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(JOIN_SECONDS))
    try:
        ray.init(address=address, **quiet, **extra)
    except Exception as error:
        message = (
            f"no Ray cluster answers at {address}: {error}; start one with `ray start --head`, or leave --address out"
        )
        raise ServiceUnreachable(message) from error
