"""Checks, before anything starts, whether a cluster has room for the processes that a tournament asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from arena.contracts import BadParameter
from arena.match.site import Site
from arena.referee.tournament import Resources, Share


def site_of(share: Share, site: Site) -> Site:
    """Return the site of a process with this share: on a GPU if it has one."""
    return replace(site, device="cuda" if share.gpus > 0 else "cpu")


def slots_for(resources: Resources, nodes: Sequence[dict[str, float]]) -> int:
    """Return how many attack slots can run at once on nodes with these resources.

    Raises `BadParameter` if the requested hosts and slots, or at least one slot, cannot be placed.
    """
    if resources.oracles < 1 or (resources.slots is not None and resources.slots < 1):
        message = "[resources] oracles and slots must be 1 or more; leave them out for the defaults"
        raise BadParameter(message)
    for share in (resources.oracle, resources.attack):
        for name, amount in demand(share).items():
            if amount > 1 and amount != int(amount):
                message = f"[resources] {amount:g} {name}: a share above 1 must be a whole number"
                raise BadParameter(message)
    free = [dict(node) for node in nodes]
    for number in range(resources.oracles):
        if not _place(resources.oracle, free):
            raise BadParameter(_refusal("oracle host", number + 1, resources.oracle, nodes))
    if resources.slots is not None:
        for number in range(resources.slots):
            if not _place(resources.attack, free):
                raise BadParameter(_refusal("attack slot", number + 1, resources.attack, nodes))
        return resources.slots
    most = max(1, int(sum(node.get("CPU", 0) for node in nodes)))
    placed = 0
    while placed < most and _place(resources.attack, free):
        placed += 1
    if placed == 0:
        raise BadParameter(_refusal("attack slot", 1, resources.attack, nodes))
    return placed


def demand(share: Share) -> dict[str, float]:
    """Return a share under Ray's names."""
    named = {"CPU": share.cpus, "GPU": share.gpus, **dict(share.custom)}
    return {name: amount for name, amount in named.items() if amount > 0}


def _place(share: Share, free: list[dict[str, float]]) -> bool:
    wanted = demand(share)
    for node in free:
        if all(node.get(name, 0.0) + 1e-9 >= amount for name, amount in wanted.items()):
            for name, amount in wanted.items():
                node[name] -= amount
            return True
    return False


def _refusal(what: str, number: int, share: Share, nodes: Sequence[dict[str, float]]) -> str:
    wanted = ", ".join(f"{amount:g} {name}" for name, amount in demand(share).items()) or "nothing"
    shown = {"CPU", "GPU", *dict(share.custom)}
    offered = "; ".join(
        ", ".join(f"{amount:g} {name}" for name, amount in sorted(node.items()) if name in shown) or "nothing"
        for node in nodes
    )
    return (
        f"[resources] {what} {number} asks for {wanted}, and no node has that left; the cluster has {len(nodes)} "
        f"node(s) with {offered}. Lower the shares, or leave [resources] out"
    )
