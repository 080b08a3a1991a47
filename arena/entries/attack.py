"""An attack from a folder, played in a sandbox that reaches nothing but its oracle."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, nn

from arena.contracts import (
    Attack,
    AttackContext,
    AttackFault,
    DeadlinePassed,
    Need,
    NotAuthorised,
    Oracle,
    Spec,
    StopReason,
    Task,
    to_json,
)
from arena.contracts.encoding import Json
from arena.entries.clone import PredictedClone
from arena.entries.frames import BadFrame, Frame, unpacked_frame
from arena.entries.inside_attack import ORACLE
from arena.entries.serving import oracle_served
from arena.entries.stage import Stage, staged
from arena.learning.training import count_steps
from arena.match.attacking import count_cpu_seconds
from arena.match.clones import unpack_clone
from arena.registry import Description, entries_in
from arena.sandbox.job import BoxLimits, Ended, Job, Sandbox

GRACE_SECONDS = (
    5.0  # after the time limit of an attack, for starting Python before it and for packing its clone after it
)
LONGEST_SECONDS = 24 * 3600.0
_LATE = (DeadlinePassed.__name__, NotAuthorised.__name__)  # what is raised inside when the oracle has closed
SEED_BITS = 62


@dataclass(frozen=True, kw_only=True)
class SandboxedAttack(Attack):
    """Looks like the attack that it describes; each `extract` starts a sandbox, and nothing of it stays."""

    spec: Spec
    description: Description
    sandbox: Sandbox = field(compare=False, repr=False)
    least: Callable[[Task], int] = field(compare=False, repr=False)
    limits: BoxLimits = field(default_factory=BoxLimits)  # those of time follow from the match

    @property
    def needs(self) -> frozenset[Need]:  # type: ignore[override]  # a class variable of players that are imported
        return self.description.needs

    @property
    def stops_early(self) -> frozenset[StopReason]:  # type: ignore[override]
        return self.description.stops_early

    def min_budget(self, task: Task) -> int:
        known = self.description.least_budget
        return self.least(task) if known is None else known

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Play inside, and return the clone. Raises `AttackFault` for whatever goes wrong there, and `DeadlinePassed`."""
        left = min(context.time_left(), LONGEST_SECONDS)
        limits = replace(self.limits, wall_seconds=left + GRACE_SECONDS, cpu_seconds=left + GRACE_SECONDS)
        with staged(self.spec) as stage:
            seed = int(torch.randint(2**SEED_BITS, (1,), generator=torch.Generator().manual_seed(rng.initial_seed())))
            defense = None if context.defense is None else json.dumps(to_json(context.defense))
            with oracle_served(
                oracle, stage.sockets / "oracle", pool=context.pool, seed=seed, seconds=left, defense=defense
            ) as served:
                ended = self.sandbox.start(self._job(stage, context, rng, served.token, limits)).wait()
                handed_back = served.handed_back
        sys.stderr.write(ended.output)
        count_cpu_seconds(ended.cpu_seconds or 0.0)
        if self.description.command:
            return self._of_command(ended, handed_back, oracle.task, context)
        return self._clone(self._frame(ended, context), oracle.task, context)

    def _job(self, stage: Stage, context: AttackContext, rng: Generator, token: str, limits: BoxLimits) -> Job:
        if self.description.command:
            environment = {"ARENA_ADDRESS": f"unix:{ORACLE}", "ARENA_TOKEN": token}
            return stage.command(self.spec, self.description.command, environment, limits=limits)
        return stage.job("play", self._request(stage, context, rng, token), limits=limits)

    def _of_command(self, ended: Ended, handed_back: bytes | None, task: Task, context: AttackContext) -> nn.Module:
        """Return the clone that a command handed back over the wire, where it was checked when it arrived."""
        if ended.ending in ("wall time", "cpu time") and context.time_left() <= 0:
            raise DeadlinePassed("the attack's time is over; its sandbox was ended")
        if not ended.well or handed_back is None:
            without = "" if handed_back is not None else ", and no clone was handed back"
            message = f"the attack's command failed: {ended.reason}{without}"
            raise AttackFault(message)
        return unpack_clone(handed_back, task)

    def _request(self, stage: Stage, context: AttackContext, rng: Generator, token: str) -> dict[str, Json]:
        known = context.defense
        entry = known is not None and bool(entries_in(known))
        return {
            "spec": stage.inside(self.spec),
            "token": token,
            "rng": rng.get_state().numpy().tobytes().hex(),
            "defense": None if known is None else to_json(known),
            "defense_is_entry": entry,
        }

    def _frame(self, ended: Ended, context: AttackContext) -> Frame:
        """Return what the sandbox reported."""
        if ended.ending in ("wall time", "cpu time") and context.time_left() <= 0:
            raise DeadlinePassed("the attack's time is over; its sandbox was ended")
        if ended.ending != "exited":
            message = f"the attack was ended: {ended.reason}"
            raise AttackFault(message)
        try:
            frame = unpacked_frame(ended.result)
        except BadFrame as error:
            message = f"the attack's process ended without a clone: {ended.reason}"
            raise AttackFault(message) from error
        if frame.about.get("error") in _LATE and context.time_left() <= 0:
            raise DeadlinePassed(str(frame.about.get("message")))
        if "error" in frame.about:
            kind, words = str(frame.about["error"]), str(frame.about.get("message"))
            raise AttackFault(words if kind == AttackFault.__name__ else f"{kind}: {words}")
        return frame

    def _clone(self, frame: Frame, task: Task, context: AttackContext) -> nn.Module:
        facts, steps = frame.about.get("facts"), frame.about.get("steps")
        for name, value in facts.items() if isinstance(facts, dict) else ():
            if isinstance(value, int | float):
                try:
                    context.note(name, float(value))
                except ValueError:
                    break  # more than a player may state
        if isinstance(steps, int) and steps >= 0:
            count_steps(steps)
        if frame.about.get("named") is True:
            return unpack_clone(frame.data, task)
        return PredictedClone(frame.data, self.spec, task, sandbox=self.sandbox, limits=self.limits).eval()
