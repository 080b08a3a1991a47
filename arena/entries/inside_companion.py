"""The parts of a sandbox that stays: it deploys a defense, or loads a clone, and answers one message after another."""

from __future__ import annotations

import io
import socket
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from arena.contracts import DefenseContext, Explainer, Explanation, QueryBatch, Task, Victim
from arena.contracts.encoding import Json, spec_from_json
from arena.entries.frames import BadFrame, Frame, receive, send
from arena.learning.randomness import generator
from arena.learning.tensors import load_state, pack, save_state, unpack
from arena.learning.training import predict
from arena.match.facts import Facts
from arena.registry import build_attack, build_defense

CALLS, GIVEN, CLONE = "/run/arena/calls", "/run/arena/given", "/run/arena/clone"


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownVictim:
    """The victim as a defense is given it."""

    module: nn.Module | None
    task: Task

    def __call__(self, inputs: Tensor) -> Tensor:
        assert self.module is not None, "a defense that is sandboxed is given the network"
        return predict(self.module, inputs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """What a defense is given, in a form that can be sent; ``context`` makes it what a defense expects."""

    task: Task
    victim: nn.Module
    training: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    outliers: Tensor | None
    surrogate: nn.Module | None
    explanation: Explanation | None

    @classmethod
    def of(cls, context: DefenseContext) -> Given:
        assert context.victim.module is not None, "tournaments play victims whose network is known"
        return cls(
            task=context.victim.task,
            victim=context.victim.module,
            training=context.training,
            validation=context.validation,
            outliers=context.outliers,
            surrogate=context.surrogate,
            explanation=context.explanation,
        )

    def context(self, note: Callable[[str, float], None]) -> DefenseContext:
        victim: Victim = KnownVictim(module=self.victim, task=self.task)
        return DefenseContext(
            victim=victim,
            device=torch.device("cpu"),
            training=self.training,
            validation=self.validation,
            outliers=self.outliers,
            surrogate=self.surrogate,
            explanation=self.explanation,
            explainer=self._explainer(),
            note=note,
        )

    def _explainer(self) -> Explainer | None:
        if self.explanation is None:
            return None
        return self.explanation.deploy(self.victim, self.training[0], rng=generator(0, "explanation"))


def given_bytes(given: Given) -> bytes:
    """Return what a defense is given as bytes, which only the inside of a sandbox reads."""
    buffer = io.BytesIO()
    torch.save(given, buffer)
    return buffer.getvalue()


def train(request: Mapping[str, Json]) -> Frame:
    """Train a defense, and return its state as safetensors."""
    defense = build_defense(spec_from_json(request["spec"]))
    return Frame(
        about={}, data=save_state(defense.train(_given().context(lambda name, value: None), rng=_rng(request)))
    )


def respond(request: Mapping[str, Json]) -> Frame:
    """Deploy a defense, and answer queries until the connection is closed."""
    defense, facts = build_defense(spec_from_json(request["spec"])), Facts("defense")
    state = load_state(bytes.fromhex(str(request["state"])))
    responder = defense.deploy(_given().context(facts.note), state, rng=_rng(request))

    def answer(frame: Frame) -> Frame:
        account, explain = frame.about["account"], frame.about["explain"] is True
        assert isinstance(account, int), "our own side sends numbers"
        given = responder(QueryBatch(inputs=unpack(frame.tensors[0]), account=account, explain=explain))
        tensors = [given.posteriors, *([given.explanations] if given.explanations is not None else [])]
        stated: dict[str, Json] = {name.rsplit("/", 1)[-1]: value for name, value in facts.measures.items()}
        return Frame(
            about={"facts": stated, "explained": given.explanations is not None},
            tensors=[pack(_float32(tensor)) for tensor in tensors],
            data=given.refused.to("cpu", torch.uint8).numpy().tobytes(),
        )

    return _answering(answer)


def predictions(request: Mapping[str, Json]) -> Frame:
    """Load a clone that only this entry's code can build, and answer rows with its logits."""
    build_attack(spec_from_json(request["spec"]))  # imports the modules of its classes
    with Path(CLONE).open("rb") as file:
        clone = typing.cast(nn.Module, torch.load(file, weights_only=False, map_location="cpu")).eval()

    @torch.inference_mode()
    def answer(frame: Frame) -> Frame:
        return Frame(about={}, tensors=[pack(_float32(clone(unpack(frame.tensors[0]))))])

    return _answering(answer)


def _answering(answer: Callable[[Frame], Frame]) -> Frame:
    """Say that everything is ready, and answer messages until the other side closes the connection."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(CALLS)
        send(connection, Frame(about={"ready": True}))
        while True:
            try:
                asked = receive(connection)
            except BadFrame:
                return Frame(about={})
            try:
                send(connection, answer(asked))
            except Exception as error:
                send(connection, Frame(about={"error": type(error).__name__, "message": str(error)}))
                raise


def _float32(tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.float32:
        message = f"a tensor of type {tensor.dtype} was returned; it must be torch.float32"
        raise TypeError(message)
    return tensor


def _given() -> Given:
    with Path(GIVEN).open("rb") as file:
        return typing.cast(Given, torch.load(file, weights_only=False))


def _rng(request: Mapping[str, Json]) -> Generator:
    rng = Generator()
    rng.set_state(torch.frombuffer(bytearray.fromhex(str(request["rng"])), dtype=torch.uint8))
    return rng
