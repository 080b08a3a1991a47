"""Short names for a terminal: players whose names would break the lines of a table are numbered, and listed once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import cast

from arena.report.findings import Findings

LONGEST_NAME = 23  # characters


@dataclass(frozen=True, kw_only=True)
class Abbreviated:
    """Findings in which no name is too long, and what the numbered names stand for."""

    found: Findings
    meanings: Mapping[str, str]


def abbreviated(found: Findings) -> Abbreviated:
    """Return findings with each name that is too long replaced by its method and a number, wherever it stands alone."""
    players = (*(row.attack for row in found.attacks), *found.defenses)
    names = {one.name: _tag(one.name, number) for number, one in enumerate(players, start=1) if _is_long(one.name)}
    if not names:
        return Abbreviated(found=found, meanings={})
    swept = {one.curve.defense for one in found.swept if _is_long(one.curve.defense)} - names.keys()
    names |= {name: _tag(name, number) for number, name in enumerate(sorted(swept), start=len(players) + 1)}
    return Abbreviated(
        found=cast(Findings, _renamed(found, names)), meanings={tag: name for name, tag in names.items()}
    )


def _is_long(name: str) -> bool:
    return len(name) > LONGEST_NAME


def _tag(name: str, number: int) -> str:
    suffix = f"#{number}"
    return re.split(r"[( ]", name, maxsplit=1)[0][: LONGEST_NAME - len(suffix)] + suffix


def _renamed(value: object, names: Mapping[str, str]) -> object:
    """Return a value in which every text that is one of the names is replaced, however deep it lies."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {_renamed(key, names): _renamed(inner, names) for key, inner in value.items()}
    if type(value) in (tuple, list):
        return tuple(_renamed(inner, names) for inner in cast(tuple[object, ...], value))
    if not is_dataclass(value) or isinstance(value, type):
        return value
    before = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    after = {name: _renamed(inner, names) for name, inner in before.items()}
    changed = {name: inner for name, inner in after.items() if inner != before[name]}
    return replace(value, **changed) if changed else value
