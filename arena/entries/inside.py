"""The program that runs inside a sandbox: it imports an entry, and describes it or plays with it.

It reads what to do from stdin as JSON, and writes one message (`arena.entries.frames`) to what was stdout; whatever the
entry prints goes to stderr. Nothing outside believes more of the message than what an entry may say of itself.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import sys
import traceback
import typing
from collections.abc import Callable, Mapping

from arena.contracts import ArenaError, Attack, Defense, Spec, Task, UsageError, to_json
from arena.contracts.encoding import Json, spec_from_json
from arena.entries.frames import Frame, packed_frame
from arena.entries.inside_attack import play
from arena.entries.inside_companion import predictions, respond, train
from arena.learning.training import one_thread
from arena.registry import (
    Role,
    build_attack,
    build_defense,
    code_digest,
    complete,
    player_class,
    player_fields,
    resolved,
)

Request = Mapping[str, Json]


def describe(request: Request) -> Frame:
    """Return what a player says of itself, as `arena.registry.Description` has it."""
    role, spec = _role(request), spec_from_json(request["spec"])
    completed = complete(role, spec)
    player = _built(role, completed)
    kind = type(player)
    about: dict[str, Json] = {
        "spec": to_json(completed),
        "resolved": resolved(role, completed),
        "sources": code_digest(role, completed),
        "about": inspect.getdoc(inspect.getmodule(kind)) or "",
        "parameters": {item.name: _shown(item) for item in player_fields(player_class(role, completed.full_name).kind)},
        "needs": to_json(sorted(player.needs)),
    }
    if isinstance(player, Attack):
        about["stops_early"] = to_json(sorted(player.stops_early))
        about["least_budget"] = 1 if type(player).min_budget is Attack.min_budget else None
        return Frame(about=about)
    about["optional_needs"] = to_json(sorted(player.optional_needs))
    about["suits_every_task"] = type(player).check is Defense.check
    about["detection_delay"] = player.detection_delay
    about["promise"] = to_json(player.promise)
    about["sweep"] = to_json(player.sweep)
    about["replaces_victim"] = player.replaces_victim
    return Frame(about=about)


def suits(request: Request) -> Frame:
    """Return the smallest budget of an attack for a task, or whether a defense suits the task."""
    role, task = _role(request), _task(request)
    player = _built(role, spec_from_json(request["spec"]))
    if isinstance(player, Attack):
        return Frame(about={"least_budget": player.min_budget(task)})
    player.check(task)
    return Frame(about={})


TASKS: Mapping[str, Callable[[Request], Frame]] = {
    "describe": describe,
    "suits": suits,
    "play": play,
    "train": train,
    "respond": respond,
    "predictions": predictions,
}


def main() -> None:
    """Do what the first argument names, and write the outcome, which is an error if the entry's code raises one."""
    with os.fdopen(os.dup(1), "wb") as result:
        os.dup2(2, 1)
        request = json.loads(sys.stdin.buffer.read())
        try:
            with one_thread():
                frame = TASKS[sys.argv[1]](request)
        except BaseException as error:
            frame = Frame(
                about={"error": type(error).__name__, "message": str(error), "usage": isinstance(error, UsageError)}
            )
            if not isinstance(error, ArenaError):
                traceback.print_exc()
            elif error.__cause__ is not None:
                traceback.print_exception(error.__cause__)
        sys.stdout.flush()
        sys.stderr.flush()
        result.write(packed_frame(frame))
        result.flush()
        os._exit(0)  # threads that the entry left do not matter any more


def _role(request: Request) -> Role:
    return "defense" if request["role"] == "defense" else "attack"


def _task(request: Request) -> Task:
    about = typing.cast(Mapping[str, typing.Any], request["task"])
    return Task(shape=tuple(about["shape"]), classes=about["classes"], class_names=tuple(about["class_names"]))


def _built(role: Role, spec: Spec) -> Attack | Defense:
    return build_attack(spec) if role == "attack" else build_defense(spec)


def _shown(item: dataclasses.Field[object]) -> str:
    """Return the type and the default of a field, as text."""
    default = "required" if item.default is dataclasses.MISSING else repr(item.default)
    return f"{item.type}, default {default}" if default != "required" else f"{item.type}, required"


if __name__ == "__main__":
    main()
