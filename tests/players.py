"""The smallest victim and matchup, and every built-in player small enough to play in a test.

Players are found in the registry, so that a new one comes into these tests by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from arena.contracts import UNDEFENDED, Knowledge, MatchResult, Matchup, Parameter, Recipe, Spec
from arena.match.play import Transport, in_process, play
from arena.match.site import Site
from arena.match.victims import load_splits
from arena.referee.tournament_file import knowledge_of
from arena.registry import Role, build_attack, build_defense, names, player_class, player_fields

MATCHUP = Matchup(
    victim=Spec(name="digits", params=(("arch", "mlp"), ("steps", 100))),
    victim_seed=0,
    defense=UNDEFENDED,
    knowledge=Knowledge(),
    attack=Spec(name="knockoff", params=(("steps", 20),)),
    pool="same",
    budget=40,
    seed=0,
    recipe=Recipe(steps=20),
)

SMALL: Mapping[str, Parameter] = {
    "steps": 20,
    "steps_inner": 20,
    "iterations": 20,
    "seeds": 20,
    "batch": 8,
    "candidates": 200,
    "epochs": 1,
    "last_epochs": 1,
    "members": 2,
    "snapshots": 3,
    "sequences": 100,
}
"""Values of fields that make a player slow, or more than a small budget can pay, for whichever player has them."""

BASES: Mapping[Role, Spec] = {"attack": Spec(name="knockoff", params=(("steps", 20),)), "defense": Spec(name="none")}


def small(role: Role, name: str) -> Spec:
    """Return the spec of a built-in player with few training steps, and with a base if it needs one."""
    found = player_class(role, name)
    kind, preset = found.kind, found.preset
    values = {**SMALL, **({"base": BASES[role]} if role in BASES else {})}
    params = {field.name: values[field.name] for field in player_fields(kind) if field.name in values}
    return Spec(name=name, params=tuple(sorted((key, value) for key, value in params.items() if key not in preset)))


def every(role: Role) -> list[Spec]:
    """Return all built-in players of a role."""
    return [small(role, name) for name in names(role)]


def meeting(attack: Spec, defense: Spec) -> Matchup:
    """Return a matchup of two players on terms that meet what they need."""
    player = build_attack(attack)
    task = load_splits(MATCHUP.victim, None).task
    return replace(
        MATCHUP,
        attack=attack,
        defense=defense,
        knowledge=knowledge_of(defense, {}, "test"),
        budget=max(MATCHUP.budget, player.min_budget(task)),
        accounts=2 if "accounts" in player.needs else 1,
        informed="defense" in player.needs,
        explanation=Spec(name="gradient-input") if "explanations" in player.needs else None,
    )


def every_meeting() -> list[Matchup]:
    """Return matchups in which each built-in player stands at least once."""
    return [
        *(meeting(attack, small("defense", name)) for name in ("none", "mad-argmax") for attack in every("attack")),
        *(meeting(small("attack", "knockoff"), defense) for defense in every("defense")),
    ]


def played(matchup: Matchup, site: Site, *, transport: Transport = in_process) -> MatchResult:
    """Play a matchup with the players of its specs."""
    return play(
        matchup,
        attack=build_attack(matchup.attack),
        defense=build_defense(matchup.defense),
        site=site,
        transport=transport,
    )
