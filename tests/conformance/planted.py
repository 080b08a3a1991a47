"""Players that offend, each in one way; module-level functions, so that another process can build them too."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Generator, Tensor, nn

from arena.contracts import (
    Answer,
    Attack,
    AttackContext,
    Defense,
    DefenseContext,
    Oracle,
    Promise,
    QueryBatch,
    Responder,
    State,
    StopReason,
)
from arena.learning.architectures import build
from arena.learning.composition import answered_by, transformed
from arena.learning.distillation import distil
from arena.learning.release import released

Extract = Callable[[Oracle, AttackContext, Generator], nn.Module]


@dataclass(frozen=True, kw_only=True)
class PlantedAttack(Attack):
    """An attack that is one function."""

    how: Extract
    declares: StopReason | None = None

    def __post_init__(self) -> None:
        if self.declares is not None:
            object.__setattr__(self, "stops_early", frozenset({self.declares}))

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        return self.how(oracle, context, rng)


def honest(oracle: Oracle, context: AttackContext, rng: Generator, *, rows: int | None = None) -> nn.Module:
    """What every planted attack does beside its offence."""
    chosen = context.pool[torch.randperm(len(context.pool), generator=rng)[: rows or oracle.remaining]]
    answers = oracle.query(chosen).posteriors
    return distil(build("linear", oracle.task, rng=rng), chosen, answers, rng=rng, steps=5)


def draws_globally(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    torch.rand(1)
    return honest(oracle, context, rng)


def draws_from_numpy(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    np.random.rand()  # the offence
    return honest(oracle, context, rng)


def draws_from_python(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    random.random()
    return honest(oracle, context, rng)


def seeds_globally(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    torch.manual_seed(20)
    return honest(oracle, context, rng)


def draws_from_nowhere(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    unseeded = Generator()
    unseeded.seed()
    return honest(oracle, context, unseeded)


class Memory:
    """What outlives a match, as a class variable or a module would."""

    matches: ClassVar[int] = 0
    rng: ClassVar[Generator]


def remembers(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    Memory.matches += 1
    oracle.query(context.pool[Memory.matches :][:1])
    return honest(oracle, context, rng)


def shares_its_generator(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    Memory.rng = rng
    oracle.query(context.pool[:1])
    return honest(oracle, context, Memory.rng)


def overspends(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    return honest(oracle, context, rng, rows=oracle.remaining + 1)


def underspends(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    return honest(oracle, context, rng, rows=oracle.remaining - 1)


def returns_no_module(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    honest(oracle, context, rng)
    return None  # type: ignore[return-value]  # the offence


def returns_other_classes(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    honest(oracle, context, rng)
    return build("linear", replace(oracle.task, classes=oracle.task.classes + 1), rng=rng)


def returns_nan(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    clone = honest(oracle, context, rng)
    with torch.no_grad():
        next(clone.parameters()).fill_(torch.nan)
    return clone


def returns_what_cannot_answer(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    honest(oracle, context, rng)
    return build("linear", replace(oracle.task, shape=(3,)), rng=rng)


def crashes(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    honest(oracle, context, rng)
    message = "out of ideas"
    raise RuntimeError(message)


def exits(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    honest(oracle, context, rng)
    sys.exit(0)


def chats(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    print("epoch 1")
    return honest(oracle, context, rng)


def seeds_by_hash(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    return honest(oracle, context, Generator().manual_seed(hash("arena") % 2**32))


def seeds_by_process(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    return honest(oracle, context, Generator().manual_seed(os.getpid()))


class Noisy(nn.Module):
    """A clone that answers otherwise each time it is asked."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(inputs)
        noise = torch.randn(logits.shape, generator=Generator().manual_seed(time.perf_counter_ns()))
        return logits + noise


def clones_with_noise(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    return Noisy(honest(oracle, context, rng))


class Sideways(nn.Module):
    """A clone that reads the rows beside a row."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(inputs)
        return logits - logits.mean(dim=0)


def clones_what_looks_sideways(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    return Sideways(honest(oracle, context, rng))


def asks_one_row(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    return honest(oracle, context, rng, rows=1)


def asks_nothing(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    return build("linear", oracle.task, rng=rng)


def rounds_of_1000(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    """Asks a thousand rows at once or none, as methods do that need so many for one step."""
    clone = build("linear", oracle.task, rng=rng)
    while oracle.remaining >= 1000:
        chosen = torch.rand(1000, *oracle.task.shape, generator=rng)
        clone = distil(clone, chosen, oracle.query(chosen).posteriors, rng=rng, steps=5)
    return clone


def honest_for_the_known_budget(oracle: Oracle, context: AttackContext, rng: Generator) -> nn.Module:
    return honest(oracle, context, rng, rows=96 if oracle.remaining == 96 else 1)


Deploy = Callable[[DefenseContext, Generator], Responder]


@dataclass(frozen=True, kw_only=True)
class PlantedDefense(Defense):
    """A defense that is one function and a promise."""

    how: Deploy
    promised: Promise

    @property
    def promise(self) -> Promise:
        return self.promised

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        return self.how(context, rng)


def off_the_simplex(context: DefenseContext, rng: Generator) -> Responder:
    return transformed(answered_by(context.victim), lambda rows, _: rows * 1.01)


def not_finite(context: DefenseContext, rng: Generator) -> Responder:
    return transformed(answered_by(context.victim), lambda rows, _: rows * torch.nan)


def other_classes(context: DefenseContext, rng: Generator) -> Responder:
    return transformed(answered_by(context.victim), lambda rows, _: torch.full((len(rows), 4), 0.25))


def fewer_rows(context: DefenseContext, rng: Generator) -> Responder:
    return transformed(answered_by(context.victim), lambda rows, _: rows[1:])


def refuses_with_numbers(context: DefenseContext, rng: Generator) -> Responder:
    return lambda queries: Answer(
        posteriors=context.victim(queries.inputs), refused=torch.ones(len(queries.inputs), dtype=torch.bool)
    )


def cannot_be_deployed(context: DefenseContext, rng: Generator) -> Responder:
    message = "no key"
    raise RuntimeError(message)


def exits_when_asked(context: DefenseContext, rng: Generator) -> Responder:
    def respond(queries: QueryBatch) -> Answer:
        sys.exit(0)

    return respond


def uniform(context: DefenseContext, rng: Generator) -> Responder:
    return transformed(answered_by(context.victim), lambda rows, _: torch.full_like(rows, 1 / rows.shape[1]))


def rotated(context: DefenseContext, rng: Generator) -> Responder:
    return transformed(answered_by(context.victim), lambda rows, _: rows.roll(1, dims=1))


def counts_rows(context: DefenseContext, rng: Generator) -> Responder:
    """Rotates by how many rows it has answered: state of the match that its promise leaves out."""
    asked = [0]

    def respond(queries: QueryBatch) -> Answer:
        asked[0] += len(queries.inputs)
        return released(context.victim(queries.inputs).roll(asked[0], dims=1))

    return respond


def remembers_matches(context: DefenseContext, rng: Generator) -> Responder:
    Memory.matches += 1
    shift = Memory.matches
    return transformed(answered_by(context.victim), lambda rows, _: rows.roll(shift, dims=1))


def shares_with_other_matches(context: DefenseContext, rng: Generator) -> Responder:
    Memory.rng = rng
    return transformed(
        answered_by(context.victim),
        lambda rows, _: rows.roll(int(torch.randint(10, (1,), generator=Memory.rng)), dims=1),
    )


def draws_globally_in_replies(context: DefenseContext, rng: Generator) -> Responder:
    return transformed(answered_by(context.victim), lambda rows, _: rows.roll(int(torch.randint(10, (1,))), dims=1))


def same_for_all(context: DefenseContext, rng: Generator) -> Responder:
    return answered_by(context.victim)


def depends_on_its_batch(context: DefenseContext, rng: Generator) -> Responder:
    return transformed(answered_by(context.victim), lambda rows, _: (rows + rows.mean(dim=0)) / 2)


def answers_one_account_wrongly(context: DefenseContext, rng: Generator) -> Responder:
    def respond(queries: QueryBatch) -> Answer:
        return released(context.victim(queries.inputs).roll(int(queries.account != 0), dims=1))

    return respond


def breaks_its_promise_off_the_data(context: DefenseContext, rng: Generator) -> Responder:
    def respond(queries: QueryBatch) -> Answer:
        rows = context.victim(queries.inputs)
        odd = queries.inputs.flatten(1).mean(dim=1) > 0.4  # digits are darker
        return released(torch.where(odd.unsqueeze(1), rows.roll(1, dims=1), rows))

    return respond


def crashes_when_explained(context: DefenseContext, rng: Generator) -> Responder:
    def respond(queries: QueryBatch) -> Answer:
        if queries.explain:
            message = "no maps here"
            raise RuntimeError(message)
        return released(context.victim(queries.inputs))

    return respond


def crashes_above_64_rows(context: DefenseContext, rng: Generator) -> Responder:
    def respond(queries: QueryBatch) -> Answer:
        if len(queries.inputs) > 64:
            message = "too many"
            raise RuntimeError(message)
        return released(context.victim(queries.inputs))

    return respond


def draws_by_process(context: DefenseContext, rng: Generator) -> Responder:
    own = torch.Generator().manual_seed(os.getpid())  # no two processes have the same
    weights = 0.5 + torch.rand(context.victim.task.classes, generator=own)
    return transformed(
        answered_by(context.victim), lambda rows, _: rows * weights / (rows * weights).sum(1, keepdim=True)
    )


@dataclass(frozen=True, kw_only=True)
class TrainedFromNowhere(Defense):
    """A defense that trains on entropy of the operating system, and answers from the state alone."""

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        return {"noise": torch.frombuffer(bytearray(os.urandom(8)), dtype=torch.uint8)}

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        return answered_by(context.victim)
