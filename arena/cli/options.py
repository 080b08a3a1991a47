"""Options that several subcommands share: specs on the command line, the data folder, the runner and MLflow."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from arena.contracts import BadParameter, Matchup, Parameter, Spec, UnknownName, to_json
from arena.match.secret import installation_secret
from arena.match.site import Limits, Site, default_cache, default_data
from arena.referee.tournament_file import tournament_from

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder with data sets in torchvision's layout; default: the folder in ARENA_DATA."),
]
RunnerName = Literal["ray", "local"]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Ray cluster to join, as HOST:PORT; default: the one in RAY_ADDRESS, else start one here."),
]
MlflowOption = Annotated[
    str | None,
    typer.Option(help="Address of an MLflow server, or none; default: an SQLite file in the run folder."),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(help="Play only these matches now, such as attack=knockoff; also defense=, victim=, pool=, seed=."),
]
AddSeedsOption = Annotated[int | None, typer.Option(help="Play so many more seeds than the tournament lists.")]
GraceOption = Annotated[
    float,
    typer.Option(min=0.0, help="Seconds that running matches have after SIGTERM, which lets no other match start."),
]
UnsafeOption = Annotated[
    bool,
    typer.Option("--unsafe", help="Run entries without a sandbox, with your rights; their results are flagged."),
]
MetricsOption = Annotated[
    str | None,
    typer.Option(metavar="PORT", help="Offer figures to Prometheus at this port of this machine, or at HOST:PORT."),
]
InsecureBindOption = Annotated[
    bool, typer.Option("--insecure-bind", help="Play matches between the nodes of a cluster without encryption.")
]
LogJsonOption = Annotated[
    bool, typer.Option("--log-json", help="Log what happens to stderr, as JSON lines with the ids of matches.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
PLAYER_HELP = "a name with parameters in brackets, such as 'mad(epsilon=0.5)' or 'argmax(base=jbda)'"
PLAYER_OPTION_HELP = "A built-in, with parameters as in 'mad(epsilon=0.5)', or an entry's folder."
VICTIM_HELP = (
    "Data set of the victim, with parameters as in 'fashion-mnist(arch=lenet)'; your own are 'image-folder:FOLDER' and "
    "'table:FILE(label=COLUMN)'."
)
SURROGATE_HELP = "Surrogate that the defense is given, such as random; default: the least it needs."
OUTLIERS_HELP = "Outliers that the defense is given, such as far; default: the least it needs."
EXPLANATION_HELP = "Explanation that the attack can request, such as grad-cam; default: none."
EXPLANATION_PRICE_HELP = "Rows that an explained row costs in addition to its one."
ACCOUNTS_HELP = "Number of accounts among which the attack can spread its queries; they share the budget."
DECIMALS_HELP = "Decimals to which released rows are rounded; default: not rounded."


def player(text: str) -> Spec:
    """Return the spec of ``name`` or ``name(key=value, ...)``; a value is TOML or the name of a player.

    A path may contain anything but the beginning of parameters, such as ``image-folder:my photos (1)(side=64)``, or
    anything at all in quotes, such as ``image-folder:"a(b=c)"``. Raises `BadParameter` for text that cannot be read.
    """
    spec, rest = _player(text.strip(), _OUTERMOST)
    if rest:
        message = f"cannot read {rest!r} in {text!r}; write {PLAYER_HELP}"
        raise BadParameter(message)
    return spec


def _player(text: str, patterns: Sequence[re.Pattern[str]]) -> tuple[Spec, str]:
    name, rest = _name(text, patterns)
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


def _name(text: str, patterns: Sequence[re.Pattern[str]]) -> tuple[str, str]:
    """Return the name with which a text begins by the first pattern that fits, and the rest of the text."""
    for pattern in patterns:
        if match := pattern.match(text):
            return "".join(part for part in match.groups() if part), text[match.end() :].lstrip()
    message = f"a player is expected at {text!r}; write {PLAYER_HELP}"
    raise BadParameter(message)


_DATA = "(?:image-folder|table):"
_BEFORE_PARAMETERS = r"(?=\s*\(\s*\w+\s*=|$)"
_QUOTED = re.compile(rf"""({_DATA})?(?:"([^"]+)"|'([^']+)')""")
_PATH = re.compile(rf"({_DATA}.+?|[^()=]*/.+?){_BEFORE_PARAMETERS}", re.DOTALL)
_WORD = re.compile(r"([^(),=\s]+)")
_OUTERMOST, _NESTED = (_QUOTED, _PATH, _WORD), (_QUOTED, _WORD)
"""Patterns of names. Inside brackets, where a comma or a bracket ends a name, paths that contain one need quotes."""


def _value(text: str) -> tuple[Parameter, str]:
    found = re.match(r'"[^"]*"|\'[^\']*\'|\[[^\]]*\]|[^,()\s]+', text)
    if found is None:
        message = f"a value is expected at {text!r}"
        raise BadParameter(message)
    if text[found.end() :].lstrip().startswith("("):
        return _player(text, _NESTED)
    try:
        value = tomllib.loads(f"value = {found.group()}")["value"]
    except tomllib.TOMLDecodeError:
        value = found.group()  # a word without quotes: the name of a player or of a choice
    return tuple(value) if isinstance(value, list) else value, text[found.end() :]


def site(data: Path | None, *, work: Path | None = None, limits: dict[str, float] | None = None) -> Site:
    """Return the site of this machine. Raises `UnknownName` for a data folder that does not exist."""
    folder = data or default_data()
    if folder is not None and not folder.is_dir():
        message = f"there is no data folder {folder}; give one with --data or ARENA_DATA, or neither, to play on digits"
        raise UnknownName(message)
    return Site(
        work=work or Path(tempfile.gettempdir()) / f"arena-{os.getpid()}",  # created with the first ledger
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
    """Return the single matchup that options describe; ``known`` is what the defense is given. Raises `UsageError`."""
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
