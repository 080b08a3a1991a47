"""Looks at the actors of a run while they play: what the oracle hosts have done, and on which node each actor is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import ray
from ray.exceptions import RayError

from arena.cluster.processes import Process, Ref
from arena.oracle.meter import Reading
from arena.referee.outlook import NodeLoad, Outlook

ASK_SECONDS = 2.0  # between two questions to a host
STARTING = "starting"  # the node of actors whose process does not run yet


class HostReadings:
    """The readings of all hosts, also of those that have died, as far as they were asked before."""

    def __init__(self) -> None:
        self._last: dict[Process, Reading] = {}
        self._asked: dict[Process, Ref] = {}
        self._next = float("-inf")

    @property
    def total(self) -> Reading:
        return sum(self._last.copy().values(), Reading())

    def refresh(self, hosts: Iterable[Process], *, wait: float = 0.0) -> None:
        """Take the answers that are in, and ask again unless that was done just now; this never waits by default."""
        for host, ref in list(self._asked.items()):
            ready, _ = ray.wait([ref], timeout=wait)
            if ready:
                del self._asked[host]
                try:
                    self._last[host] = ray.get(ref)
                except RayError:  # the host has died; what it did before is known from its last answer
                    continue
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + ASK_SECONDS
            for host in hosts:
                if host not in self._asked:
                    self._asked[host] = host.actor.reading.remote()


class Places:
    """Where actors run, by the addresses of their nodes."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}

    def of(self, *, slots: Iterable[Process], hosts: Iterable[Process]) -> Mapping[str, NodeLoad]:
        """Return how many slots and hosts each node has."""
        on = {
            "slots": Counter(self._address(slot.node) for slot in slots),
            "hosts": Counter(self._address(host.node_if_started) for host in hosts),
        }
        return {
            node: NodeLoad(slots=on["slots"][node], hosts=on["hosts"][node])
            for node in sorted(on["slots"].keys() | on["hosts"].keys())
        }

    def _address(self, node: str) -> str:
        if not node:
            return STARTING
        if node not in self._addresses:
            self._addresses = {known["NodeID"]: known["NodeManagerAddress"] for known in ray.nodes()}
        return self._addresses.get(node, node)


def outlook_of(
    *, stages: Sequence[str], untrained: Sequence[bool], nodes: Mapping[str, NodeLoad], reading: Reading
) -> Outlook:
    """Return what a runner is doing.

    ``stages`` are those of the running matches, and ``untrained`` says of each waiting match whether another one trains
    its victim.
    """
    waits = ["its victim, which another match trains" if other else "an oracle host" for other in untrained]
    waits += ["a process to start" for stage in stages if stage == "start"]
    return Outlook(
        stages=Counter([*stages, *("waiting" for _ in untrained)]), waits=Counter(waits), nodes=nodes, reading=reading
    )
