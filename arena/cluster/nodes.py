"""Which nodes a running cluster has, and what this machine would offer as one, without starting anything."""

from __future__ import annotations

import os

import ray
import torch

from arena.cluster.membership import join


def nodes_at(address: str) -> list[dict[str, float]]:
    """Return the resources of each node of the cluster at ``address``, under Ray's names.

    Raises `BadParameter` if ``address`` is not host:port, and `ServiceUnreachable` if no cluster answers there.
    """
    cluster = join(address)
    try:
        return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    finally:
        cluster.leave()


def this_node() -> dict[str, float]:
    """Return what a cluster that is started on this machine has, under Ray's names."""
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
