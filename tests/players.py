"""The smallest victim and matchup, and every built-in player small enough to play in a test.

Players are found in the registry, so that a new one comes into these tests by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from arena.contracts import (
    UNDEFENDED,
    Knowledge,
    MatchResult,
    Matchup,
    Parameter,
    Recipe,
    Spec,
    from_json,
    matchup_id,
    to_json,
)
from arena.match.cache import Cache
from arena.match.deployment import ledger_path
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
    attack=Spec(name="knockoff", params=(("steps", 10),)),
    pool="same",
    budget=40,
    seed=0,
    recipe=Recipe(arch="mlp", steps=10),
)

SMALL: Mapping[str, Parameter] = {
    "steps": 10,
    "steps_inner": 10,
    "iterations": 10,
    "rounds": 3,
    "restarts": 1,
    "seeds": 20,
    "batch": 8,
    "candidates": 200,
    "unlabelled": 40,
    "more_unlabelled": 8,
    "epochs": 1,
    "last_epochs": 1,
    "members": 2,
    "snapshots": 3,
    "sequences": 100,
}
"""Values of fields that make a player slow, or more than a small budget can pay, for whichever player has them."""

BASES: Mapping[Role, Spec] = {"attack": Spec(name="knockoff", params=(("steps", 10),)), "defense": Spec(name="none")}


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
    """Return matchups in which each built-in player stands at least once, each of them once."""
    matchups = [
        *(meeting(attack, small("defense", name)) for name in ("none", "mad-argmax") for attack in every("attack")),
        *(meeting(small("attack", "knockoff"), defense) for defense in every("defense")),
    ]
    return list(dict.fromkeys(matchups))


def played(matchup: Matchup, site: Site, *, transport: Transport = in_process) -> MatchResult:
    """Play a matchup with the players of its specs."""
    return play(
        matchup,
        attack=build_attack(matchup.attack),
        defense=build_defense(matchup.defense),
        site=site,
        transport=transport,
    )


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Matches that several tests look at, each played in process by whichever test asks for it first."""

    site: Site
    results: Cache

    def result(self, matchup: Matchup) -> MatchResult:
        """Return the result of a matchup, played unless it was before."""

        def play_now() -> bytes:
            return json.dumps(to_json(played(matchup, self.site))).encode()

        return from_json(MatchResult, json.loads(self.results.once(matchup_id(matchup), play_now)))

    def ledger(self, matchup: Matchup) -> Path:
        """Return the ledger of a matchup, played unless it was before."""
        return ledger_path(self.site, self.result(matchup).matchup, attempt=1)
