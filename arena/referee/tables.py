"""Tables of TOML: reading their keys with errors that name the file and the key, and writing them."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arena.contracts import BadParameter, UnknownName, checked, nearest


def to_toml(table: Mapping[str, object]) -> str:
    """Return a table of scalars, lists and tables as TOML text, one key per line."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in table.items())


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = "".join(
            f"\\u{ord(letter):04x}" if ord(letter) < 32 or ord(letter) == 127 else letter
            for letter in value.replace("\\", "\\\\").replace('"', '\\"')
        )
        return f'"{escaped}"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)


@dataclass(frozen=True)
class Reader:
    """Reads the keys of a table; errors name the file and the nearest known key."""

    table: Mapping[str, object]
    where: str

    def only(self, known: Sequence[str]) -> None:
        for key in self.table:
            if key not in known:
                hint = nearest(key, known) or f"; the known keys are {', '.join(known)}"
                message = f"{self.where}: unknown key {key!r}{hint}"
                raise UnknownName(message)

    def get(self, key: str, default: object) -> object:
        return self.table.get(key, default)

    def word(self, key: str) -> str:
        value = self.table.get(key)
        if not isinstance(value, str) or not value:
            message = f'{self.where}: {key} must be a non-empty string, as in {key} = "digits"'
            raise BadParameter(message)
        return value

    def some(self, key: str, default: list[object] | None = None, *, empty: bool = False) -> list[object]:
        value = self.table.get(key, [] if empty else default)
        if not isinstance(value, list) or not (value or empty):
            message = f'{self.where}: {key} must be a list of at least one, as in {key} = ["{_EXAMPLES[key]}"]'
            raise BadParameter(message)
        return value

    def integers(self, key: str, value: object, *, least: int, empty: bool = False) -> tuple[int, ...]:
        listed = value if isinstance(value, list) else []
        numbers = [item for item in listed if isinstance(item, int) and not isinstance(item, bool) and item >= least]
        if not isinstance(value, list) or len(numbers) < len(listed) or not (numbers or empty):
            message = f"{self.where}: {key} must be whole numbers of at least {least}, not {value!r}"
            raise BadParameter(message)
        return tuple(numbers)


_EXAMPLES = {"victims": "digits", "attacks": "knockoff", "defenses": "none", "pools": "same", "threats": "evasion"}


Value = typing.TypeVar("Value")


def fill(kind: type[Value], table: object, where: str) -> Value:
    """Return a value of a dataclass whose fields are the keys of a table."""
    values = table_of(table, where)
    hints = typing.get_type_hints(kind)
    Reader(values, where).only(list(hints))
    try:
        return kind(**{key: checked(where, key, value, hints[key]) for key, value in values.items()})
    except TypeError as error:
        message = f"{where}: {error}"
        raise BadParameter(message) from error


def table_of(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        message = f"{where} must be a table, not {value!r}"
        raise BadParameter(message)
    return value
