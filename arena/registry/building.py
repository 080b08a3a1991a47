"""Builds players from specs: looks up their names, checks their parameters, and builds the players inside them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from arena.contracts import (
    Attack,
    BadParameter,
    Defense,
    Explanation,
    Parameter,
    Spec,
    Threat,
    UnknownName,
    checked,
    nearest,
)
from arena.provenance import PACKAGE, sources_digest
from arena.registry.builtins import ROLES, TABLES, Role, newest_version, registered
from arena.registry.described import current_loader, entries_in, loader_for
from arena.registry.entries import MANIFEST, entry_folder, folder_digest, load_entry

Player = Attack | Defense | Explanation | Threat

_EXAMPLES: Mapping[Role, str] = {"attack": "knockoff", "defense": "none"}  # shown as the value of a missing field
_KINDS: Mapping[Role, type[Player]] = {
    "attack": Attack,
    "defense": Defense,
    "explanation": Explanation,
    "threat": Threat,
}


@dataclass(frozen=True, kw_only=True)
class PlayerClass:
    """The class that a name stands for, the fields that the name fixes, and the version, None except for built-ins."""

    kind: type[Player]
    preset: Mapping[str, Parameter] = dataclasses.field(default_factory=dict)
    version: int | None = None


def build_attack(spec: Spec) -> Attack:
    """Return the attack of a spec. Raises `UnknownName` and `BadParameter`."""
    return typing.cast(Attack, _build("attack", spec))


def build_defense(spec: Spec) -> Defense:
    """Return the defense of a spec. Raises `UnknownName` and `BadParameter`."""
    return typing.cast(Defense, _build("defense", spec))


def build_explanation(spec: Spec) -> Explanation:
    """Return the explanation of a spec. Raises `UnknownName` and `BadParameter`."""
    return typing.cast(Explanation, _build("explanation", spec))


def build_threat(spec: Spec) -> Threat:
    """Return the threat of a spec. Raises `UnknownName` and `BadParameter`."""
    return typing.cast(Threat, _build("threat", spec))


def complete(role: Role, spec: Spec) -> Spec:
    """Return a spec as it is stored: with the version of a built-in, or with the folder and digest of an entry.

    Its parameters are checked. Raises `UnknownName` and `BadParameter`.
    """
    loader = loader_for(spec)
    if loader is not None:
        return loader.describe(role, spec).spec
    folder, found = entry_folder(spec.name), player_class(role, spec.full_name)
    roles = _nested_roles(found.kind)
    nested = {key: _completed(roles[key], value) if key in roles else value for key, value in spec.params}
    filled = Spec(
        name=str(folder) if folder else spec.name,
        version=found.version,
        params=tuple(sorted(nested.items())),
        digest=folder_digest(folder) if folder else "",
    )
    _build(role, filled)
    return filled


def is_newest(spec: Spec) -> bool:
    """Return whether a spec names the newest version of its method, or no version."""
    return spec.version is None or spec.version in (newest_version(role, spec.name) for role in ROLES)


def names(role: Role) -> list[str]:
    """Return the names of all built-ins, without older versions, and of the entry points of installed packages."""
    installed = [point.name for point in importlib.metadata.entry_points(group=_group(role))]
    return sorted({*(name for name in TABLES[role] if "@" not in name), *installed})


def player_class(role: Role, name: str) -> PlayerClass:
    """Return the class that a name stands for. Raises `UnknownName`."""
    folder = entry_folder(name)
    if folder is not None:
        assert current_loader() is None, "a process that has entries described elsewhere never imports one"
        return PlayerClass(kind=load_entry(role, folder, _KINDS[role]))
    builtin = registered(role, name)
    if builtin is not None:
        return PlayerClass(kind=_import(builtin.where), preset=builtin.preset, version=builtin.version)
    for point in importlib.metadata.entry_points(group=_group(role)):
        if point.name == name:
            return PlayerClass(kind=typing.cast(type[Player], point.load()))
    message = f"no {role} is called {name!r}{nearest(name, names(role))}; `arena list` shows all names, and a folder "
    message += f"with an {MANIFEST} is given by its path"
    raise UnknownName(message)


def sweep_of(spec: Spec) -> tuple[str, tuple[float, ...]] | None:
    """Return the field of a defense that its trade-off curve varies, with the values; None if it has none."""
    loader = loader_for(spec)
    if loader is not None:
        return loader.describe("defense", spec).sweep
    return typing.cast(type[Defense], player_class("defense", spec.full_name).kind).sweep


def player_defaults(role: Role, name: str) -> Mapping[str, Parameter]:
    """Return the values that a built-in's name gives to fields, whether it fixes them or a spec may change them."""
    builtin = registered(role, name) if entry_folder(name) is None else None
    return {**builtin.default, **builtin.preset} if builtin is not None else {}


def player_fields(kind: type[Player]) -> tuple[dataclasses.Field[object], ...]:
    """Return the hyper-parameters of a player's class."""
    return dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()


def resolved(role: Role, spec: Spec) -> str:
    """Return a player as text with the values of all fields, including those that its name or its class sets."""
    loader = loader_for(spec)
    if loader is not None:
        return loader.describe(role, spec).resolved
    return repr(_build(role, spec))


def code_digest(role: Role, spec: Spec) -> str:
    """Return a digest of a player's source, of what it imports from this package, and of the players inside it."""
    loader = loader_for(spec)
    if loader is not None:
        folders = [folder_digest(Path(name).expanduser()) for name in entries_in(spec)]
        return hashlib.blake2b(
            " ".join([*folders, loader.describe(role, spec).sources]).encode(), digest_size=8
        ).hexdigest()
    folder, kind = entry_folder(spec.name), player_class(role, spec.full_name).kind
    state = hashlib.blake2b(digest_size=8)
    if folder is not None:
        state.update(folder_digest(folder).encode())
    state.update(sources_digest(_sources(kind, folder)).encode())
    roles = _nested_roles(kind)
    for key, value in {**player_defaults(role, spec.full_name), **dict(spec.params)}.items():
        for nested in value if isinstance(value, tuple) else (value,):
            if isinstance(nested, Spec):
                state.update(code_digest(roles[key], nested).encode())
    return state.hexdigest()


@functools.cache
def sources_digest_of(kind: type[Player]) -> str:
    """Return a digest of the source files that a player's class comes from, and of what they import from this package."""
    return sources_digest(_sources(kind, None))


def _sources(kind: type[Player], folder: Path | None) -> list[Path]:
    """Return a player's source files: its module if built in, else all of its entry's folder or installed package."""
    if folder is not None:
        return sorted(folder.rglob("*.py"))
    file, (package, *inside) = Path(inspect.getfile(kind)), kind.__module__.split(".")
    if package == PACKAGE or not inside:
        return [file]
    root = next((parent for parent in file.parents if parent.name == package), file.parent)
    return sorted(root.rglob("*.py"))


def _completed(role: Role, value: Parameter) -> Parameter:
    """Return the players in a field as completed specs; a string is the name of a player without parameters."""
    if isinstance(value, tuple):
        return tuple(_completed(role, item) for item in value)
    spec = Spec.named(value) if isinstance(value, str) else value
    return complete(role, spec) if isinstance(spec, Spec) else value


def _build(role: Role, spec: Spec) -> Player:
    loader = loader_for(spec)
    if loader is not None:
        return loader.attack(spec) if role == "attack" else loader.defense(spec)
    found = player_class(role, spec.full_name)
    fields = {field.name: field for field in player_fields(found.kind)}
    hints, roles = typing.get_type_hints(found.kind), _nested_roles(found.kind)
    values: dict[str, object] = {
        key: _built(roles[key], value) if key in roles else value
        for key, value in player_defaults(role, spec.full_name).items()
    }
    for key, value in spec.params:
        _check_parameter(spec, key, value, fields=fields, preset=found.preset)
        nested = _built(roles[key], value) if key in roles else value
        values[key] = checked(spec.name, key, nested, hints[key])
    missing = [name for name in _required(fields) if name not in values]
    if missing:
        raise BadParameter(_what_is_missing(spec, missing, roles))
    try:
        return found.kind(**values)
    except (TypeError, ValueError) as error:
        message = f"{spec.name}: {error}"
        raise BadParameter(message) from error


def _check_parameter(
    spec: Spec,
    key: str,
    value: Parameter,
    *,
    fields: Mapping[str, dataclasses.Field[object]],
    preset: Mapping[str, Parameter],
) -> None:
    """Raise `BadParameter` for a parameter that a player does not have, or whose value its name fixes."""
    if key not in fields:
        known = f"its parameters are {', '.join(fields)}" if fields else "it has no parameters"
        message = f"{spec.name} has no parameter {key!r}{nearest(key, fields)}; {known}"
        raise BadParameter(message)
    if key in preset and value != preset[key]:
        message = f"{spec.name} stands for {key} = {preset[key]!r}; leave {key} out, or use another method"
        raise BadParameter(message)


def _required(fields: Mapping[str, dataclasses.Field[object]]) -> Iterator[str]:
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            yield name


def _what_is_missing(spec: Spec, missing: list[str], roles: Mapping[str, Role]) -> str:
    first = missing[0]
    value = _EXAMPLES.get(roles[first], "...") if first in roles else "..."
    return (
        f"{spec.name} needs {', '.join(missing)}: write {spec.name}({first}={value}) on the command line, "
        f'{{ name = "{spec.name}", {first} = "{value}" }} in a file'
    )


def _built(role: Role, value: Parameter) -> object:
    """Return the players of the specs in a field; other values are returned as they are, and fail the type check."""
    if isinstance(value, tuple):
        return tuple(_built(role, item) for item in value)
    return _build(role, value) if isinstance(value, Spec) else value


def _nested_roles(kind: type[Player]) -> Mapping[str, Role]:
    """Return the role of the players in each field that holds other players."""
    hints = typing.get_type_hints(kind)
    held = {field.name: {hints[field.name], *typing.get_args(hints[field.name])} for field in player_fields(kind)}
    return {name: role for name, kinds in held.items() for role, player in _KINDS.items() if player in kinds}


def _import(where: str) -> type[Player]:
    module, _, name = where.partition(":")
    return typing.cast(type[Player], getattr(importlib.import_module(module), name))


def _group(role: Role) -> str:
    return f"arena.{role}s"
