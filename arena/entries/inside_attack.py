"""Plays an attack inside a sandbox, against the oracle behind the socket that was bound into it."""

from __future__ import annotations

import io
import typing
from collections.abc import Mapping

import torch
from torch import Generator, nn

from arena.contracts import AttackContext, AttackFault, Defense, Task
from arena.contracts.encoding import Json, spec_from_json
from arena.entries.frames import Frame
from arena.learning.training import counted_steps
from arena.match.clones import checked_clone, pack_clone
from arena.match.facts import Facts
from arena.registry import build_attack, build_defense
from arena.rpc.client import Connection, RemoteMatch, RemoteOracle

ORACLE = "/run/arena/oracle"  # the socket of the oracle


def play(request: Mapping[str, Json]) -> Frame:
    """Play the attack, and return its clone with what it says of its play."""
    attack = build_attack(spec_from_json(request["spec"]))
    facts, token = Facts("attack"), str(request["token"])
    with Connection(f"unix:{ORACLE}", token) as joining:
        match = RemoteMatch(joining)
    with Connection(f"unix:{ORACLE}", token, time_left=match.time_left) as connection:
        oracle = RemoteOracle(connection)
        context = AttackContext(
            pool=RemoteMatch(connection).fetch_pool(oracle.task),
            device=torch.device("cpu"),
            time_left=match.time_left,
            defense=None if request["defense"] is None else spec_from_json(request["defense"]),
            simulated=_simulated(request),
            note=facts.note,
        )
        rng = Generator()
        rng.set_state(torch.frombuffer(bytearray.fromhex(str(request["rng"])), dtype=torch.uint8))
        with counted_steps() as steps:
            clone = checked_clone(attack.extract(oracle, context, rng=rng), oracle.task)
    packed = pack(clone, oracle.task)
    stated: dict[str, Json] = {name.rsplit("/", 1)[-1]: value for name, value in facts.measures.items()}
    return Frame(about={"facts": stated, "steps": steps.taken, "named": packed.named}, data=packed.data)


class Packed(typing.NamedTuple):
    """A clone's bytes, and whether they are those of a named architecture, which is loaded outside."""

    data: bytes
    named: bool


def pack(clone: nn.Module, task: Task) -> Packed:
    """Return a clone as safetensors or, if only this entry's code can build it, as what this code can load again."""
    try:
        return Packed(data=pack_clone(clone), named=True)
    except AttackFault:
        return Packed(data=saved(clone), named=False)


def saved(clone: nn.Module) -> bytes:
    """Return a clone of a class of the entry's own. Raises `AttackFault` if it cannot be saved."""
    buffer = io.BytesIO()
    try:
        torch.save(clone.cpu(), buffer)
    except Exception as error:
        message = (
            f"the clone is of a class of your own, {type(clone).__name__}, and cannot be saved ({error}): define its classes "
            "at the top of a module, or make it with arena.learning.architectures.build"
        )
        raise AttackFault(message) from error
    return buffer.getvalue()


def _simulated(request: Mapping[str, Json]) -> Defense | None:
    """Return the defense of an informed matchup, built, unless it is another entry, whose code nobody else gets."""
    if request["defense"] is None or request["defense_is_entry"]:
        return None
    return build_defense(spec_from_json(request["defense"]))
