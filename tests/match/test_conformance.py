"""Every player that ships passes; every offence is caught by the finding that is for it."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Generator, nn

from arena.cli.check import conformance, role_of
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
    Spec,
    State,
    StopReason,
)
from arena.defenses.none import NoDefense
from arena.learning.architectures import build
from arena.learning.composition import answered_by, transformed
from arena.learning.distillation import distil
from arena.learning.release import released
from arena.match.conformance import Finding, check_attack, check_defense
from arena.match.site import Site
from arena.registry import MANIFEST, Role, complete
from tests.players import every, small

ENTRIES = sorted(path.parent for path in (Path(__file__).parents[2] / "agents").glob(f"*/{MANIFEST}"))
PLANTED = Spec(name="planted")


def offences(findings: list[Finding]) -> set[str]:
    return {finding.name for finding in findings if not finding.passed}


@pytest.mark.parametrize(
    ("role", "spec"),
    [pytest.param(role, spec, id=f"{role}-{spec.name}") for role in ("attack", "defense") for spec in every(role)],
)
def test_every_built_in_player_passes(role: Role, spec: Spec, site: Site):
    assert offences(conformance(role, complete(role, spec), site)) == set()


@pytest.mark.parametrize("folder", ENTRIES, ids=lambda folder: folder.name)
def test_every_entry_passes(folder: Path, site: Site):
    role = role_of(str(folder))
    assert offences(conformance(role, complete(role, small(role, str(folder))), site)) == set()


Extract = Callable[[Oracle, AttackContext, Generator], nn.Module]


@dataclass(frozen=True, kw_only=True)
class PlantedAttack(Attack):
    """An attack that is one function."""

    how: Extract

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


CLONE = "returns a clone of logits (N, K)"
BUDGET = "spends its budget, or declares why not"
AGAIN = "same seed, same transcript and clone"
GLOBAL = "leaves global generators alone"
AT_ONCE = "two matches at once do not disturb each other"


@pytest.mark.parametrize(
    ("how", "caught"),
    [
        (draws_globally, {GLOBAL}),
        (draws_from_numpy, {GLOBAL}),
        (draws_from_python, {GLOBAL}),
        (seeds_globally, {GLOBAL}),
        (draws_from_nowhere, {AGAIN, AT_ONCE}),
        (remembers, {AGAIN, AT_ONCE}),
        (shares_its_generator, {AT_ONCE}),
        (overspends, {CLONE, BUDGET}),
        (underspends, {BUDGET}),
        (returns_no_module, {CLONE}),
        (returns_other_classes, {CLONE}),
        (returns_nan, {CLONE}),
        (returns_what_cannot_answer, {CLONE}),
        (crashes, {CLONE}),
        (exits, {CLONE}),
        (chats, {"prints nothing"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_attack_that_offends_is_caught(how: Extract, caught: set[str], site: Site):
    findings = check_attack(PlantedAttack(how=how), PLANTED, site, undefended=NoDefense())
    assert offences(findings) == caught


def test_only_an_undeclared_rest_of_the_budget_is_an_offence(site: Site):
    class Declared(PlantedAttack):
        stops_early = frozenset({"solved exactly"})

    assert offences(check_attack(Declared(how=underspends), PLANTED, site, undefended=NoDefense())) == set()


@pytest.mark.parametrize("reason", ["pool exhausted", "deadline", "budget below one round"])
def test_a_declared_reason_that_does_not_hold_is_no_excuse(reason: StopReason, site: Site):
    @dataclass(frozen=True, kw_only=True)
    class Declared(PlantedAttack):
        stops_early = frozenset({reason})

    assert offences(check_attack(Declared(how=underspends), PLANTED, site, undefended=NoDefense())) == {BUDGET}


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


SIMPLEX, PROMISE = "answers on the simplex", "keeps its promise"
SAME_ANSWERS, FORGETS = "same seed, same answers", "answers alike whatever came before, as promised"


@pytest.mark.parametrize(
    ("how", "promised", "caught"),
    [
        (off_the_simplex, Promise(), {SIMPLEX}),
        (not_finite, Promise(), {SIMPLEX}),
        (other_classes, Promise(), {SIMPLEX}),
        (fewer_rows, Promise(), {SIMPLEX}),
        (refuses_with_numbers, Promise(), {SIMPLEX}),
        (cannot_be_deployed, Promise(), {SIMPLEX}),
        (exits_when_asked, Promise(), {SIMPLEX}),
        (uniform, Promise(), set()),
        (uniform, Promise(l1=0.1), {PROMISE}),
        (rotated, Promise(), set()),
        (rotated, Promise(argmax=True), {PROMISE}),
        (counts_rows, Promise(stateful=True), set()),
        (counts_rows, Promise(), {FORGETS}),
        (remembers_matches, Promise(stateful=True), {SAME_ANSWERS, AT_ONCE}),
        (shares_with_other_matches, Promise(noise="fresh"), {AT_ONCE}),
        (draws_globally_in_replies, Promise(noise="fresh"), {SAME_ANSWERS, AT_ONCE, GLOBAL}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_defense_that_offends_is_caught(how: Deploy, promised: Promise, caught: set[str], site: Site):
    assert offences(check_defense(PlantedDefense(how=how, promised=promised), PLANTED, site)) == caught
