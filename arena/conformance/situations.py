"""What a player under check plays against: one known matchup, and others that nobody can foresee."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Generator

from arena.contracts import UNDEFENDED, Attack, Defense, Knowledge, Matchup, PoolKind, Spec
from arena.learning.randomness import generator
from arena.match.site import Site
from arena.match.victims import load_splits

Choice = TypeVar("Choice")

KNOWN_VICTIM = Spec(name="digits", params=(("arch", "mlp"), ("steps", 300)))
KNOWN_BUDGET = 96  # or an attack's minimum, if that is more
EXPLANATION = Spec(name="gradient-input")  # every network has gradients
UNFORESEEN = 2  # matchups drawn for each check
_ARCHITECTURES = ("linear", "mlp", "small-cnn")
_POOLS: tuple[tuple[PoolKind, str], ...] = (("same", ""), ("near", "glyphs"), ("far", "textures"), ("far", "noise"))
_STEPS = (100, 300)
_BUDGETS = (40, 200)


def attack_matchups(attack: Attack, spec: Spec, site: Site, *, seed: int) -> list[Matchup]:
    """Return the known matchup of an attack against an undefended victim, and those that ``seed`` draws."""
    wants = attack.needs
    known = replace(
        _known(UNDEFENDED),
        attack=spec,
        informed="defense" in wants,
        accounts=2 if "accounts" in wants else 1,
        explanation=EXPLANATION if "explanations" in wants else None,
    )
    least = attack.min_budget(load_splits(KNOWN_VICTIM, site.data).task)
    known = replace(known, budget=max(KNOWN_BUDGET, least))
    drawn = []
    for rng in _generators("attack", seed):
        unforeseen = _unforeseen(known, rng)
        accounts = _whole(2, 5, rng) if "accounts" in wants else 1
        drawn.append(replace(unforeseen, budget=unforeseen.budget + max(0, least - _BUDGETS[0]), accounts=accounts))
    return [known, *drawn]


def defense_matchups(defense: Defense, spec: Spec, *, seed: int) -> list[Matchup]:
    """Return the known matchup of a defense, and those that ``seed`` draws, in which explanations are offered."""
    given = defense.needs | defense.optional_needs
    knowledge = Knowledge(
        outliers="far" if "outliers" in given else "none",
        surrogate="random" if "surrogate" in given else "none",
    )
    known = replace(_known(spec), knowledge=knowledge)
    return [known, *(replace(_unforeseen(known, rng), explanation=EXPLANATION) for rng in _generators("defense", seed))]


def described(matchup: Matchup) -> str:
    """Return in a line what a player under check plays against."""
    victim = ", ".join(f"{key}={value}" for key, value in matchup.victim.params)
    pool = f"{matchup.pool} {matchup.pool_source}".strip()
    return f"{matchup.victim.name}({victim}) of seed {matchup.victim_seed}, pool {pool}, budget {matchup.budget}"


def _known(defense: Spec) -> Matchup:
    return Matchup(
        victim=KNOWN_VICTIM,
        victim_seed=0,
        defense=defense,
        knowledge=Knowledge(),
        attack=Spec(name="check"),
        pool="same",
        budget=KNOWN_BUDGET,
        seed=0,
    )


def _generators(role: str, seed: int) -> list[Generator]:
    return [generator(seed, "check", role, number) for number in range(UNFORESEEN)]


def _unforeseen(known: Matchup, rng: Generator) -> Matchup:
    kind, source = _one_of(_POOLS, rng)
    params = (("arch", _one_of(_ARCHITECTURES, rng)), ("steps", _whole(*_STEPS, rng)))
    return replace(
        known,
        victim=Spec(name=KNOWN_VICTIM.name, params=params),
        victim_seed=_whole(1, 2**31, rng),
        pool=kind,
        pool_source=source,
        budget=_whole(*_BUDGETS, rng),
        seed=_whole(1, 2**31, rng),
    )


def _one_of(choices: Sequence[Choice], rng: Generator) -> Choice:
    return choices[_whole(0, len(choices), rng)]


def _whole(low: int, high: int, rng: Generator) -> int:
    return int(torch.randint(low, high, (1,), generator=rng))
