"""Ray actors as the runner handles them: started with a share of a node, watched, killed."""

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
    """An actor; of a host, ``ready`` resolves once it runs, and ``alive`` to an error when it dies."""

    actor: Actor
    ready: Ref = None
    alive: Ref = None
    node: str = ""  # of a slot, once it has said so
    has: set[str] = field(default_factory=set)  # keys of artefacts that it was given

    def new(self, artefacts: Artefacts) -> Artefacts:
        """Return what this process has not been given yet, and count it as given."""
        missing = {key: data for key, data in artefacts.items() if key not in self.has}
        self.has |= set(missing)
        return missing

    @property
    def has_started(self) -> bool:
        """Whether a host has run at all."""
        try:
            return bool(ray.get(self.ready, timeout=0))
        except RayError:  # also that of time
            return False

    def kill(self) -> None:
        """End it; nothing starts it again."""
        with contextlib.suppress(RayError):  # the cluster itself is gone, and the process with it
            ray.kill(self.actor, no_restart=True)


def actor_class(kind: type, share: Share) -> Actor:
    """Return a class whose ``remote`` starts an actor with a share of a node."""
    named = demand(share)
    return ray.remote(kind).options(
        num_cpus=named.pop("CPU", 0),
        num_gpus=named.pop("GPU", 0),
        resources=named or None,
        max_restarts=0,
        max_task_retries=0,
    )


def death(alive: Ref) -> RayActorError | None:
    """Return the error that a dead process left."""
    try:
        ray.get(alive)
    except RayActorError as error:
        return error
    return None


def node_lives(node: str) -> bool:
    """Whether the cluster counts a node as alive."""
    return any(known["NodeID"] == node and known["Alive"] for known in ray.nodes())


def check_started(error: RayActorError) -> None:
    """Raise `ServiceUnreachable` if a process could not even begin: no other one would."""
    if error.actor_init_failed:
        message = f"the cluster's nodes cannot run arena; is this version of it installed on all of them? {error}"
        raise ServiceUnreachable(message) from error
