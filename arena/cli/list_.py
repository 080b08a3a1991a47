"""``arena list``: shows everything that has a name, and what a name stands for."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from arena.cli.console import output
from arena.cli.options import JsonOption, print_json
from arena.contracts import Attack, DataMissing, Defense, Spec, UnknownName, nearest
from arena.data.datasets import dataset_names, load
from arena.learning.architectures import architecture_names
from arena.match.site import default_data
from arena.match.victims import VictimTerms
from arena.payoff.matrix import label
from arena.registry import (
    ROLES,
    EntryLoader,
    Player,
    Role,
    current_loader,
    entry_folder,
    manifest,
    names,
    player_class,
    player_defaults,
    player_fields,
)
from arena.runs.presets import find_tournament, preset_names


def command(
    name: Annotated[
        str, typer.Argument(help="A method, victim, architecture or preset to describe; default: list all names.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """List all methods, victims, architectures and presets, or describe one of them.

    Example: arena list mad
    """
    if name:
        _describe(name, json=json)
        return
    everything = {
        **{f"{role}s": names(role) for role in ROLES},
        "victims": list(dataset_names()),
        "architectures": [*architecture_names(), *ARCHITECTURE_FAMILIES],
        "presets": preset_names(),
    }
    if json:
        print_json(everything)
        return
    for kind, found in everything.items():
        table = Table(title=kind, show_header=False, title_justify="left", box=None)
        for one in found:
            table.add_row(one, _idea(kind, one))
        output.print(table)


def _idea(kind: str, name: str) -> str:
    """Return what a method does, in one line, with the parameters that its name fixes."""
    role = next((role for role in ROLES if f"{role}s" == kind), None)
    if role is None:
        return ""
    player = player_class(role, name)
    found, preset = player.kind, player.preset
    idea = _about(found).split("\n")[0]
    return f"{idea} ({', '.join(f'{key}={value}' for key, value in preset.items())})" if preset else idea


def _about(kind: type[Player]) -> str:
    """Return the docstring of a method's module, with its idea, its source and its departures from that."""
    module = inspect.getmodule(kind)
    return inspect.getdoc(module) or "" if module else ""


ARCHITECTURE_FAMILIES = {
    "mlp-H": "A network with one hidden layer of H units, such as mlp-32.",
    "torchvision's": "Any classifier of torchvision.models by its name, such as resnet18 or mobilenet_v3_small.",
}


def _kinds_of_others() -> dict[str, str]:
    """Return what everything is that has a name and no card."""
    kinds: dict[str, Iterable[str]] = {"victim": dataset_names(), "architecture": architecture_names()}
    kinds |= {"architectures": ARCHITECTURE_FAMILIES, "preset": preset_names()}
    return {name: kind for kind, named in kinds.items() for name in named}


def _describe(name: str, *, json: bool) -> None:
    """Print what a name stands for: a method's card, a data set, an architecture, or the tournament of a preset.

    Raises `UnknownName`, with the nearest name of any kind.
    """
    others, known = _kinds_of_others(), {found: role for role in reversed(ROLES) for found in names(role)}
    if entry_folder(name) is not None or name.partition("@")[0] in known:
        _card(name, json=json)
        return
    if name not in others:
        message = f"nothing is called {name!r}{nearest(name, [*known, *others])}; `arena list` shows all names"
        raise UnknownName(message)
    about = _about_other(name, others[name])
    if json:
        print_json({"name": name, "kind": others[name], "about": about})
        return
    output.print(Text(name, style="bold"), f"({others[name]})\n")
    output.print(about)


def _about_other(name: str, kind: str) -> str:
    """Return a description of a victim, an architecture or a preset in a few lines."""
    if kind == "preset":
        return find_tournament(name).read_text().rstrip()
    if kind == "victim":
        parameters = ", ".join(typing.get_type_hints(VictimTerms))
        return f"{_data_set(name)}\nParameters of a victim: {parameters}."
    if kind == "architectures":
        return ARCHITECTURE_FAMILIES[name]
    return (
        f'A network for victims and clones. In a tournament\'s TOML: victims = [{{ name = "digits", arch = "{name}" }}]'
    )


def _data_set(name: str) -> str:
    """Return the size of a data set or, if it is not on this machine, how to get it."""
    try:
        found = load(name, folder=default_data())
    except DataMissing as missing:
        return f"A data set that is not on this machine: {missing}"
    return f"A data set with {len(found.labels):,} rows of shape {found.shape} in {len(found.class_names)} classes."


def _entry_card(name: str, loader: EntryLoader, *, json: bool) -> None:
    """Print what an entry says of itself, from inside a sandbox."""
    role = _role_of(name)
    found = loader.describe(role, Spec(name=name))
    if json:
        card = {"name": name, "role": role, "version": None, "about": found.about}
        print_json({**card, "parameters": dict(found.parameters), "needs": sorted(found.needs)})
        return
    output.print(Text(name, style="bold"), f"({role}, an entry)\n")
    output.print(Text(f"{_reflowed(found.about)}\n"))
    table = Table(title="parameters", title_justify="left")
    table.add_column("name")
    table.add_column("type and default")
    for parameter, about in found.parameters.items():
        table.add_row(Text(parameter), Text(about))
    output.print(table)
    output.print(f"needs: {', '.join(sorted(found.needs)) or 'nothing'}")


def _card(name: str, *, json: bool) -> None:
    loader = current_loader()
    if loader is not None and entry_folder(name) is not None:
        _entry_card(name, loader, json=json)
        return
    role = _role_of(name)
    player = player_class(role, name)
    kind, preset = player.kind, player.preset
    about, given = _about(kind), player_defaults(role, name)
    parameters = {field.name: given.get(field.name, field.default) for field in player_fields(kind)}
    if json:
        shown = {
            key: value if isinstance(value, str | int | float | bool | None) else str(value)
            for key, value in parameters.items()
        }
        card = {"name": name, "role": role, "version": player.version, "about": about}
        print_json({**card, "parameters": shown, "needs": _needs(kind)})
        return
    version = "" if player.version is None else f", version {player.version}"
    output.print(Text(name, style="bold"), f"({role}{version})\n")
    output.print(f"{_reflowed(about)}\n\n{_reflowed(inspect.getdoc(kind) or '')}\n")
    table = Table(title="parameters", title_justify="left")
    for column in ("name", "type", "default"):
        table.add_column(column)
    hints = typing.get_type_hints(kind)
    for field in player_fields(kind):
        default = parameters[field.name]
        fixed = " (fixed by the name)" if field.name in preset else ""
        type_ = _choices(hints[field.name]) or str(field.type)
        value = "required" if "MISSING" in repr(default) else _shown(default)
        table.add_row(field.name, type_, f"{value}{fixed}")
    output.print(table)
    if issubclass(kind, Attack | Defense):
        output.print(f"needs: {', '.join(_needs(kind)) or 'nothing'}")
    if issubclass(kind, Defense) and kind.optional_needs:
        output.print(f"optional needs: {', '.join(sorted(kind.optional_needs))}")
    if issubclass(kind, Defense) and kind.sweep is not None:
        swept, values = kind.sweep
        output.print(f"sweep: {swept} = {', '.join(f'{value:g}' for value in values)}")


def _choices(hint: object) -> str:
    """Return the strings that a type allows, as ``'l1' | 'l2'``; an empty string if it has no such choice."""
    text = inspect.formatannotation(hint).replace("typing.", "")
    return re.sub(r"Literal\[(.*?)\]", lambda found: found[1].replace(", ", " | "), text) if "Literal" in text else ""


def _shown(default: object) -> str:
    """Return a default value as text, with players by their labels."""
    if isinstance(default, tuple):
        return ", ".join(map(_shown, default)) or "()"
    return label(default) if isinstance(default, Spec) else repr(default)


def _reflowed(text: str) -> str:
    """Return a docstring with one line per paragraph; labels such as ``Source:`` and list items start a new one."""
    return re.sub(r"(?<!\n)\n(?!\n|[A-Z][a-z]+( [a-z]+)?:|[-*] )", " ", text)


def _needs(kind: type[Player]) -> list[str]:
    return sorted(kind.needs) if issubclass(kind, Attack | Defense) else []


def _role_of(name: str) -> Role:
    """Return the role of a built-in method or of an entry."""
    folder = entry_folder(name)
    if folder is not None:
        return manifest(folder).role
    known = {found: role for role in reversed(ROLES) for found in names(role)}
    return known[name.partition("@")[0]]
