"""Shares the referee's clones between the nodes of a cluster, so that each clone is trained on one node only."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, TypeAlias

import ray
from ray.exceptions import RayError

from arena.match.cache import Cache

Handle: TypeAlias = Any  # ray.actor.ActorHandle of a CloneStore, whose methods exist only at run time

MAX_BYTES = 256 * 2**20  # the capacity of the store; clones that were used least recently are dropped first
ANSWER_SECONDS = 5.0  # if the store takes longer, a node does without it


class CloneStore:
    """Holds packed clones by key, in the memory of one process of the cluster; the runner starts it as an actor."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> bytes | None:
        """Return the clone stored under ``key``, or None."""
        data = self._held.get(key)
        if data is not None:
            self._held.move_to_end(key)
        return data

    def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``, and drop the clones that were used least recently if there are too many."""
        self._bytes += len(data) - len(self._held.pop(key, b""))
        self._held[key] = data
        while self._bytes > self._max_bytes and self._held:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= len(dropped)


@dataclass(frozen=True, kw_only=True)
class SharedCache(Cache):
    """A node's own cache, backed by the cluster's store; if the store does not answer, only the node's own is used."""

    store: Handle

    def get(self, key: str) -> bytes | None:
        stored = super().get(key)
        if stored is None:
            with contextlib.suppress(RayError):
                stored = ray.get(self.store.get.remote(key), timeout=ANSWER_SECONDS)
            if stored is not None:
                super().put(key, stored)
        return stored

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data)
        with contextlib.suppress(RayError):
            self.store.put.remote(key, data)  # sent without waiting for an answer
