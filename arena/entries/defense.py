"""A defense from a folder, trained and deployed in sandboxes: it answers through a socket, and is metered outside."""

from __future__ import annotations

import math
import sys
import typing
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor

from arena.contracts import (
    Answer,
    Defense,
    DefenseContext,
    DefenseFault,
    Need,
    Note,
    Promise,
    QueryBatch,
    Responder,
    Spec,
    State,
    Task,
)
from arena.contracts.encoding import Json
from arena.entries.companion import Companion, CompanionFailed
from arena.entries.frames import BadFrame, Frame, unpacked_frame
from arena.entries.inside_companion import Given, given_bytes
from arena.entries.stage import Stage, close_stage, open_stage, staged
from arena.learning.tensors import load_state, pack, save_state, unpack
from arena.match.clones import safetensors_header
from arena.registry import Description
from arena.sandbox.job import BoxLimits, Sandbox

START_SECONDS = 120.0  # until a defense is deployed; the match's own limit may be shorter
ANSWER_SECONDS = 60.0  # for one call
MATCH_SECONDS = 24 * 3600.0


class Asks(typing.Protocol):
    """Asks whether a defense suits a task. Raises `BadParameter` if it does not."""

    def __call__(self, task: Task) -> None: ...


@dataclass(frozen=True, kw_only=True)
class SandboxedDefense(Defense):
    """Looks like the defense that it describes. Training is in one sandbox, each deployment in another."""

    identity: str  # a digest of its code and all its parameters
    spec: Spec = field(compare=False)
    description: Description = field(compare=False, repr=False)
    sandbox: Sandbox = field(compare=False, repr=False)
    asks: Asks = field(compare=False, repr=False)
    limits: BoxLimits = field(default_factory=BoxLimits)

    @property
    def needs(self) -> frozenset[Need]:  # type: ignore[override]  # a class variable of players that are imported
        return self.description.needs

    @property
    def optional_needs(self) -> frozenset[Need]:  # type: ignore[override]
        return self.description.optional_needs

    @property
    def replaces_victim(self) -> bool:  # type: ignore[override]
        return self.description.replaces_victim

    @property
    def detection_delay(self) -> int:
        return self.description.detection_delay

    @property
    def promise(self) -> Promise:
        return self.description.promise

    def check(self, task: Task) -> None:
        if not self.description.suits_every_task:
            self.asks(task)

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        """Train inside, and return the state. Raises `DefenseFault` for whatever goes wrong there."""
        with staged(self.spec) as stage:
            _give(stage, context)
            request: dict[str, Json] = {"spec": stage.inside(self.spec), "rng": _state_of(rng)}
            ended = self.sandbox.start(stage.job("train", request, limits=self.limits)).wait()
        sys.stderr.write(ended.output)
        try:
            frame = unpacked_frame(ended.result)
        except BadFrame as error:
            message = f"the defense's process ended without a state: {ended.reason}"
            raise DefenseFault(message) from error
        if "error" in frame.about:
            message = f"{frame.about['error']}: {frame.about.get('message')}"
            raise DefenseFault(message)
        safetensors_header(frame.data)
        return load_state(frame.data)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        """Deploy inside. Raises `DefenseFault` if that fails."""
        stage = open_stage(self.spec)
        try:
            _give(stage, context)
            request: dict[str, Json] = {
                "spec": stage.inside(self.spec),
                "rng": _state_of(rng),
                "state": save_state(state).hex(),
            }
            limits = replace(self.limits, wall_seconds=MATCH_SECONDS)
            companion = Companion(self.sandbox, stage, "respond", request, limits=limits, seconds=START_SECONDS)
        except CompanionFailed as failure:
            message = f"the defense could not be deployed in its sandbox: {failure}"
            raise DefenseFault(message) from failure
        except BaseException:
            close_stage(stage)
            raise
        return SandboxedResponder(companion, note=context.note)


class SandboxedResponder:
    """A responder whose answers come out of a sandbox; what it states about itself is stated here."""

    def __init__(self, companion: Companion, *, note: Note) -> None:
        self._companion, self._note = companion, note

    def __call__(self, queries: QueryBatch) -> Answer:
        """Answer one call. Raises `DefenseFault`, after which every call raises it."""
        about: dict[str, Json] = {"account": queries.account, "explain": queries.explain}
        try:
            frame = self._companion.ask(
                Frame(about=about, tensors=[pack(queries.inputs, compact=True)]), seconds=ANSWER_SECONDS
            )
            answer = _answer(frame)
        except (CompanionFailed, ValueError) as failure:
            message = f"the defense failed in its sandbox: {failure}; the call was not charged"
            raise DefenseFault(message) from failure
        self._state_facts(frame)
        return answer

    def _state_facts(self, frame: Frame) -> None:
        facts = frame.about.get("facts")
        for name, value in facts.items() if isinstance(facts, dict) else ():
            if isinstance(value, int | float) and math.isfinite(value):
                self._note(name, float(value))


def _answer(frame: Frame) -> Answer:
    """Return an answer as it came; whether it may be released is checked as for every defense. Raises ValueError."""
    explained = frame.about.get("explained") is True
    if len(frame.tensors) != 1 + explained:
        message = f"{len(frame.tensors)} tensors are no answer"
        raise ValueError(message)
    tensors: list[Tensor] = [unpack(tensor) for tensor in frame.tensors]
    return Answer(
        posteriors=tensors[0],
        refused=torch.frombuffer(bytearray(frame.data), dtype=torch.uint8) > 0 if frame.data else torch.zeros(0) > 0,
        explanations=tensors[1] if explained else None,
    )


def _give(stage: Stage, context: DefenseContext) -> None:
    """Put what the defense is given where its sandbox finds it."""
    path = stage.sockets / "given"
    path.write_bytes(given_bytes(Given.of(context)))
    path.chmod(0o644)


def _state_of(rng: Generator) -> str:
    return rng.get_state().numpy().tobytes().hex()
