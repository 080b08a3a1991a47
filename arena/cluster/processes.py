"""Starts, watches and kills the Ray actors of the runner, each with its share of a node."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import ray
from ray.exceptions import RayActorError, RayError

from arena.cluster.players import Artefacts
from arena.cluster.resources import demand
from arena.contracts import ServiceUnreachable
from arena.referee.tournament import Share

Ref: TypeAlias = Any  # ray.ObjectRef: its generic parameter is not part of Ray's public types
Actor: TypeAlias = Any  # ray.actor.ActorHandle, whose methods exist only at run time


@dataclass(eq=False)
class Process:
    """An actor. For a host, ``ready`` resolves once it runs, and ``alive`` resolves to an error when it dies."""

    actor: Actor
    ready: Ref = None
    alive: Ref = None
    node: str = ""  # the node's id, known for a slot that has started
    has: set[str] = field(default_factory=set)  # the keys of the artefacts that it was sent

    def new(self, artefacts: Artefacts) -> Artefacts:
        """Return the artefacts that this process was not sent before, and count them as sent."""
        missing = {key: data for key, data in artefacts.items() if key not in self.has}
        self.has |= set(missing)
        return missing

    @property
    def node_if_started(self) -> str:
        """The node's id of a host, or an empty string if its process does not run yet, or no more."""
        if not self.node:
            with contextlib.suppress(RayError):  # including the timeout
                self.node = str(ray.get(self.ready, timeout=0))
        return self.node

    @property
    def has_started(self) -> bool:
        """Whether a host's process has ever run."""
        try:
            return bool(ray.get(self.ready, timeout=0))
        except RayError:  # including the timeout
            return False

    def kill(self) -> None:
        """End the process for good."""
        with contextlib.suppress(RayError):  # raised if the cluster is gone, and with it the process
            ray.kill(self.actor, no_restart=True)


def actor_class(kind: type, share: Share) -> Actor:
    """Return a class whose ``remote`` starts an actor of ``kind`` with a share of a node."""
    named = demand(share)
    return ray.remote(kind).options(
        num_cpus=named.pop("CPU", 0),
        num_gpus=named.pop("GPU", 0),
        resources=named or None,
        max_restarts=0,
        max_task_retries=0,
    )


def death(alive: Ref) -> RayActorError | None:
    """Return the error of a dead process."""
    try:
        ray.get(alive)
    except RayActorError as error:
        return error
    return None


def node_lives(node: str) -> bool:
    """Return whether the cluster counts a node as alive."""
    return any(known["NodeID"] == node and known["Alive"] for known in ray.nodes())


def check_started(error: RayActorError) -> None:
    """Raise `ServiceUnreachable` if a process could not even start, because no other process would."""
    if error.actor_init_failed:
        message = f"the cluster's nodes cannot run arena; install this version of it on all of them: {error}"
        raise ServiceUnreachable(message) from error
