"""Reads a tournament from TOML and writes it back; every error names the file and the key."""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from arena.contracts import (
    BadParameter,
    Knowledge,
    Recipe,
    Spec,
    UnknownName,
    spec_from_json,
)
from arena.contracts.encoding import Json
from arena.referee.settlement import REPLAYS
from arena.referee.tables import Reader, fill, table_of
from arena.referee.tournament import DefenseTerms, PoolTerms, Resources, SeededVictim, Share, Tournament
from arena.registry import build_defense, complete, sweep_of


def read_tournament(path: Path) -> Tournament:
    """Return the tournament in a TOML file.

    Raises `UnknownName` for a file, key or player that does not exist, and `BadParameter` for a syntax error, with its
    line, for a value of the wrong kind, and for a parameter that a player does not have.
    """
    try:
        table = tomllib.loads(path.read_text())
    except (FileNotFoundError, IsADirectoryError) as error:
        message = f"there is no tournament file {path}"
        raise UnknownName(message) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{path} is not valid TOML: {error}"
        raise BadParameter(message) from error
    return tournament_from(table, where=str(path), folder=path.parent)


KEYS = (
    "name", "victims", "attacks", "defenses", "pools", "budgets", "seeds", "informed", "accounts", "explanation",
    "explanation_price", "decimals", "recipe", "threats", "threat_budget", "curve", "secret", "limits", "resources",
)  # fmt: skip
KNOWLEDGE = tuple(one.name for one in dataclasses.fields(Knowledge))  # what is declared beside a defense's parameters
STAGES = ("prepare", "deploy", "play", "close", "score")


def tournament_from(table: Mapping[str, object], *, where: str, folder: Path) -> Tournament:
    """Return the tournament of a parsed table, which errors call ``where``; its paths may be relative to ``folder``."""
    read = Reader(table, where)
    read.only(KEYS)
    seeds = read.get("seeds", 5)
    if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds > 0:
        seeds = list(range(seeds))
    attacks = read.some("attacks")
    return Tournament(
        name=read.word("name"),
        victims=tuple(_victim(item, where) for item in read.some("victims")),
        attacks=tuple(complete("attack", _player(item, where, "attacks", folder)) for item in attacks),
        defenses=tuple(terms for item in read.some("defenses") for terms in _defenses(item, where, folder)),
        pools=tuple(_pool(item, where) for item in read.some("pools", ["same"])),
        budgets=read.integers("budgets", read.get("budgets", None), least=1),
        seeds=read.integers("seeds", seeds, least=0),
        informed=tuple(_informed(read.get("informed", False), where)),
        accounts=read.integers("accounts", [read.get("accounts", 1)], least=1)[0],
        explanation=_explanation(read.get("explanation", None), where),
        explanation_price=read.integers("explanation_price", [read.get("explanation_price", 1)], least=0)[0],
        decimals=read.integers("decimals", [read.get("decimals", 0)], least=0)[0] if "decimals" in table else None,
        recipe=_recipe(read.get("recipe", {}), f"{where}: recipe"),
        threats=tuple(complete("threat", _spec(item, where, "threats")) for item in read.some("threats", empty=True)),
        threat_budget=read.integers("threat_budget", [read.get("threat_budget", 1_000)], least=1)[0],
        curve=read.integers("curve", read.get("curve", []), least=1, empty=True),
        secret=read.word("secret") if "secret" in table else None,
        limits=_limits(read.get("limits", {}), where),
        replays=_replays(read.get("limits", {}), where),
        resources=_resources(read.get("resources", {}), where),
    )


def to_table(tournament: Tournament) -> dict[str, object]:
    """Return a table from which `tournament_from` reads the same tournament."""
    return {
        "name": tournament.name,
        "victims": [{**_spec_table(one.victim), "seed": one.seed} for one in tournament.victims],
        "attacks": [_spec_table(spec) for spec in tournament.attacks],
        "defenses": [
            {**_spec_table(terms.spec), **{key: value for key, value in vars(terms.knowledge).items() if value}}
            for terms in tournament.defenses
        ],
        "pools": [{"kind": pool.kind, "source": pool.source} for pool in tournament.pools],
        "budgets": list(tournament.budgets),
        "seeds": list(tournament.seeds),
        "informed": list(tournament.informed),
        "accounts": tournament.accounts,
        **({"explanation": _spec_table(tournament.explanation)} if tournament.explanation else {}),
        "explanation_price": tournament.explanation_price,
        **({"decimals": tournament.decimals} if tournament.decimals is not None else {}),
        "recipe": {key: value for key, value in vars(tournament.recipe).items() if value is not None},
        "threats": [_spec_table(spec) for spec in tournament.threats],
        "threat_budget": tournament.threat_budget,
        "curve": list(tournament.curve),
        **({"secret": tournament.secret} if tournament.secret is not None else {}),
        "limits": {**tournament.limits, "replays": tournament.replays},
        "resources": {
            "oracle": _share_table(tournament.resources.oracle),
            "attack": _share_table(tournament.resources.attack),
            "oracles": tournament.resources.oracles,
            **({"slots": tournament.resources.slots} if tournament.resources.slots is not None else {}),
        },
    }


def _spec(item: object, where: str, key: str) -> Spec:
    if isinstance(item, Mapping) and "path" in item and "name" not in item:
        item = {"name": item["path"], **{name: value for name, value in item.items() if name != "path"}}
    try:
        return spec_from_json(typing.cast(Json, item))
    except ValueError as error:
        message = f"{where}: {key}: {error}"
        raise BadParameter(message) from error


def _player(item: object, where: str, key: str, folder: Path) -> Spec:
    """Return the spec of a player; a relative path starts at the working directory, or at the tournament's file."""
    spec = _spec(item, where, key)
    if "/" in spec.name and not Path(spec.name).exists() and (folder / spec.name).exists():
        return Spec(name=str(folder / spec.name), params=spec.params)
    return replace(spec, digest="")


def _explanation(item: object, where: str) -> Spec | None:
    return None if item is None else complete("explanation", _spec(item, where, "explanation"))


def _victim(item: object, where: str) -> SeededVictim:
    spec = _spec(item, where, "victims")
    params = dict(spec.params)
    seed = params.pop("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        message = f"{where}: victims: {spec.name}: seed must be a whole number of at least 0, not {seed!r}"
        raise BadParameter(message)
    return SeededVictim(victim=Spec(name=spec.name, params=tuple(sorted(params.items()))), seed=seed)


def _defenses(item: object, where: str, folder: Path) -> Iterable[DefenseTerms]:
    """Return the defense as it is given or, with ``sweep``, once for each value of the parameter that it sweeps."""
    spec = _player(item, where, "defenses", folder)
    params = dict(spec.params)
    wanted = params.pop("sweep", False)
    if wanted is False:
        return [_defense(replace(spec, params=tuple(params.items())), where)]
    declared = sweep_of(spec)
    if declared is None:
        message = f"{where}: {spec.name} has no parameter to sweep; leave sweep out"
        raise BadParameter(message)
    name, defaults = declared
    values = defaults if wanted is True else wanted
    if not isinstance(values, tuple) or not values or name in params:
        message = f"{where}: {spec.name}: set sweep to true or to a list of values of {name}, and leave {name} out"
        raise BadParameter(message)
    return [_defense(replace(spec, params=tuple(sorted({**params, name: value}.items()))), where) for value in values]


def _defense(spec: Spec, where: str) -> DefenseTerms:
    params = dict(spec.params)
    known: dict[str, object] = {key: params.pop(key) for key in KNOWLEDGE if key in params}
    completed = complete("defense", replace(spec, params=tuple(sorted(params.items()))))
    return DefenseTerms(spec=completed, knowledge=knowledge_of(completed, known, where))


def knowledge_of(defense: Spec, declared: Mapping[str, object], where: str) -> Knowledge:
    """Return what a defense is given: what is declared, and otherwise the least that meets its (optional) needs."""
    player = build_defense(defense)
    needs = player.needs | player.optional_needs
    least = {
        "outliers": "far" if "outliers" in needs else "none",
        "surrogate": "random" if "surrogate" in needs else "none",
    }
    hints = typing.get_type_hints(Knowledge)
    for key, value in declared.items():
        allowed = typing.get_args(hints[key])
        if allowed and value not in allowed:
            message = f"{where}: {defense.name}: {key} = {value!r} must be one of {', '.join(allowed)}"
            raise BadParameter(message)
    return fill(Knowledge, {**least, **declared}, f"{where}: {defense.name}")


def _pool(item: object, where: str) -> PoolTerms:
    terms = {"kind": item} if isinstance(item, str) else item
    return fill(PoolTerms, terms, f"{where}: pools")


def _informed(value: object, where: str) -> Iterable[bool]:
    values = value if isinstance(value, list) else [value]
    answers = [item for item in values if isinstance(item, bool)]
    if not answers or len(answers) < len(values):
        message = f"{where}: informed must be true, false, or [false, true] to play both, not {value!r}"
        raise BadParameter(message)
    return answers


def _recipe(table: object, where: str) -> Recipe:
    recipe = fill(Recipe, table, where)
    if recipe.steps is not None and recipe.steps < 1:
        message = f"{where}: steps must be at least 1, not {recipe.steps}; leave it out for the default"
        raise BadParameter(message)
    return recipe


def _limits(table: object, where: str) -> Mapping[str, float]:
    reader = Reader(table_of(table, f"{where}: limits"), f"{where}: limits")
    reader.only((*STAGES, "replays"))
    limits: dict[str, float] = {}
    for stage, seconds in reader.table.items():
        if stage == "replays":
            continue
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds <= 0:
            message = f"{where}: limits: {stage} must be more than 0 seconds, not {seconds!r}"
            raise BadParameter(message)
        limits[stage] = float(seconds)
    return limits


def _replays(table: object, where: str) -> int:
    reader = Reader(table_of(table, f"{where}: limits"), f"{where}: limits")
    return reader.integers("replays", [reader.get("replays", REPLAYS)], least=0)[0]


def _resources(table: object, where: str) -> Resources:
    here = f"{where}: resources"
    values = dict(table_of(table, here))
    shares: dict[str, object] = {
        key: _share(values.pop(key), f"{here}: {key}") for key in ("oracle", "attack") if key in values
    }
    resources = fill(Resources, {**values, **shares}, here)
    if resources.oracles < 1 or (resources.slots is not None and resources.slots < 1):
        message = f"{here}: oracles and slots must be at least 1"
        raise BadParameter(message)
    return resources


def _share(table: object, where: str) -> Share:
    values = dict(table_of(table, where))
    if "custom" in values:
        values["custom"] = tuple(sorted(table_of(values["custom"], where).items()))
    share = fill(Share, values, where)
    if share.cpus < 0 or share.gpus < 0:
        message = f"{where}: cpus = {share.cpus} and gpus = {share.gpus} must be at least 0"
        raise BadParameter(message)
    return share


def _share_table(share: Share) -> dict[str, object]:
    return {"cpus": share.cpus, "gpus": share.gpus, **({"custom": dict(share.custom)} if share.custom else {})}


def _spec_table(spec: Spec) -> dict[str, object]:
    def plain(value: object) -> object:
        if isinstance(value, Spec):
            return _spec_table(value)
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    return {"name": spec.full_name, **{key: plain(value) for key, value in spec.params if value is not None}}
