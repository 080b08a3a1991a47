"""Converts specs, matchups and results to and from plain JSON values, and computes the id of a matchup."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from typing import TypeAlias, TypeVar

from arena.contracts.matchup import Matchup
from arena.contracts.spec import Spec

Json: TypeAlias = "str | int | float | bool | None | list[Json] | dict[str, Json]"
Value = TypeVar("Value")


def to_json(value: object) -> Json:
    """Return a frozen value as dicts, lists and scalars; specs become ``{"name": "NAME@VERSION", **params}``."""
    if isinstance(value, Spec):
        digest: dict[str, Json] = {"digest": value.digest} if value.digest else {}
        return {"name": value.full_name, **digest, **{key: to_json(parameter) for key, parameter in value.params}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    message = f"{type(value).__name__} has no JSON form"
    raise TypeError(message)


def spec_from_json(value: Json) -> Spec:
    """Return the spec of ``"name"`` or ``{"name": ..., **params}``; params are sorted. Raises ValueError."""
    if isinstance(value, str):
        return Spec.named(value)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        message = f"a player must be a name, or a table with a name, not {value!r}"
        raise ValueError(message)
    params = tuple(sorted((key, _parameter(item)) for key, item in value.items() if key not in ("name", "digest")))
    return Spec.named(str(value["name"]), params, digest=str(value.get("digest", "")))


def _parameter(value: Json) -> typing.Any:
    if isinstance(value, dict):
        return spec_from_json(value)
    return tuple(_parameter(item) for item in value) if isinstance(value, list) else value


def from_json(kind: type[Value], value: Json) -> Value:
    """Return the value of type ``kind`` that `to_json` converted. Raises ValueError, TypeError or KeyError."""
    return typing.cast(Value, _decode(kind, value))


def matchup_id(matchup: Matchup) -> str:
    """Return the id of a matchup, 16 hex digits that are a hash of everything in it."""
    text = json.dumps(to_json(matchup), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _decode(kind: typing.Any, value: Json) -> object:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Spec:
        return spec_from_json(value)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _decode(next(a for a in arguments if a is not type(None)), value)
    if origin is tuple and isinstance(value, list):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return tuple(_decode(item_kind, item) for item_kind, item in zip(kinds, value, strict=True))
    if origin is not None and issubclass(origin, Mapping) if isinstance(origin, type) else False:
        return {key: _decode(arguments[1], item) for key, item in typing.cast(dict[str, Json], value).items()}
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields") and isinstance(value, list):
        return kind(*typing.cast(list[typing.Any], value))
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        unknown = set(value) - set(hints)
        if unknown:
            message = f"{getattr(kind, '__name__', kind)} has no field {', '.join(sorted(unknown))}"
            raise ValueError(message)
        return typing.cast(typing.Any, kind)(**{name: _decode(hints[name], item) for name, item in value.items()})
    return float(value) if kind is float and isinstance(value, int) else value
