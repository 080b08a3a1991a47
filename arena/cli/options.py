"""What several subcommands read: specs on the command line, the data folder, sites."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from arena.contracts import BadParameter, Matchup, Parameter, Spec, UnknownName, to_json
from arena.match.secret import installation_secret
from arena.match.site import Limits, Site, default_cache, default_data
from arena.referee.tournament_file import tournament_from

DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder of data sets in torchvision's layout; default: ARENA_DATA.")
]
RunnerName = Literal["ray", "local"]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Ray cluster to join, HOST:PORT; default: the one that RAY_ADDRESS names, else start one here."),
]
MlflowOption = Annotated[
    str | None, typer.Option(help="MLflow server, or none; default: a SQLite file in the run folder.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
PLAYER_HELP = "a name with parameters in brackets, such as 'mad(epsilon=0.5)' or 'argmax(base=jbda)'"


def player(text: str) -> Spec:
    """Return the spec of ``name`` or ``name(key=value, ...)``; values are TOML, or a player's name.

    Raises `BadParameter` for what cannot be read.
    """
    spec, rest = _player(text.strip())
    if rest:
        message = f"cannot read {rest!r} in {text!r}; write {PLAYER_HELP}"
        raise BadParameter(message)
    return spec


def _player(text: str) -> tuple[Spec, str]:
    match = re.match(r"[^(),=\s]+", text)
    if match is None:
        message = f"a player is expected at {text!r}; write {PLAYER_HELP}"
        raise BadParameter(message)
    name, rest = match.group(), text[match.end() :].lstrip()
    params: dict[str, Parameter] = {}
    if rest.startswith("("):
        rest = rest[1:].lstrip()
        while not rest.startswith(")"):
            found = re.match(r"(\w+)\s*=\s*", rest)
            if found is None:
                message = f"key=value is expected at {rest!r}; write {PLAYER_HELP}"
                raise BadParameter(message)
            params[found.group(1)], rest = _value(rest[found.end() :])
            rest = rest.lstrip().removeprefix(",").lstrip()
        rest = rest[1:]
    return Spec.named(name, tuple(sorted(params.items()))), rest.strip()


def _value(text: str) -> tuple[Parameter, str]:
    found = re.match(r'"[^"]*"|\'[^\']*\'|\[[^\]]*\]|[^,()\s]+', text)
    if found is None:
        message = f"a value is expected at {text!r}"
        raise BadParameter(message)
    if text[found.end() :].lstrip().startswith("("):
        return _player(text)
    try:
        value = tomllib.loads(f"value = {found.group()}")["value"]
    except tomllib.TOMLDecodeError:
        value = found.group()  # a bare word: the name of a player or of a choice
    return tuple(value) if isinstance(value, list) else value, text[found.end() :]


def site(data: Path | None, *, work: Path | None = None, limits: dict[str, float] | None = None) -> Site:
    """Return the site of this machine. Raises `UnknownName` for a data folder that is not there."""
    folder = data or default_data()
    if folder is not None and not folder.is_dir():
        message = f"there is no data folder {folder}; name one with --data or ARENA_DATA, or leave both out for digits"
        raise UnknownName(message)
    return Site(
        work=work or Path(tempfile.gettempdir()) / f"arena-{os.getpid()}",  # made when a ledger is
        data=folder.resolve() if folder else None,
        cache=default_cache(),
        secret=installation_secret(),
        limits=Limits(**(limits or {})),
    )


def matchup_of(
    *,
    where: str,
    victim: str,
    attack: str,
    defense: str,
    budget: int,
    pool: str,
    source: str = "",
    accounts: int,
    seed: int,
    decimals: int | None,
    informed: bool = False,
    explanation: str = "",
    explanation_price: int = 1,
    threats: Iterable[str] = (),
    threat_budget: int = 1_000,
    known: Mapping[str, str],
) -> Matchup:
    """Return the one matchup that options describe. Raises `UsageError`; ``known`` is what the defense knows."""
    defender = player(defense)
    declared = {key: value for key, value in known.items() if value}
    params = tuple(sorted({**dict(defender.params), **declared}.items()))
    table = {
        "name": "command-line",
        "victims": [to_json(player(victim))],
        "attacks": [to_json(player(attack))],
        "defenses": [to_json(replace(defender, params=params))],
        "pools": [{"kind": pool, "source": source}],
        "budgets": [budget],
        "seeds": [seed],
        "informed": informed,
        "accounts": accounts,
        **({"explanation": to_json(player(explanation))} if explanation else {}),
        "explanation_price": explanation_price,
        "threats": [to_json(player(threat)) for threat in threats],
        "threat_budget": threat_budget,
        **({"decimals": decimals} if decimals is not None else {}),
    }
    (matchup,) = tournament_from(table, where=where, folder=Path()).matchups()
    return matchup


def print_json(value: object) -> None:
    """Print a value as one JSON document on stdout."""
    typer.echo(json.dumps(value, indent=2))
