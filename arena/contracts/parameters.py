"""Checks the values in a configuration against the types of a player's fields, before anything is built."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable
from typing import Literal

from arena.contracts.errors import BadParameter


def checked(owner: str, key: str, value: object, hint: object) -> object:
    """Return ``value`` if it has the field's type, else raise `BadParameter`; an int is accepted as a float."""
    if _fits(value, hint):
        return float(value) if hint is float and isinstance(value, int) else value
    message = f"{owner}: {key} = {value!r} is not {_words(hint)}"
    raise BadParameter(message)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" with the known word that is closest to ``word``, or "" if none is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _fits(value: object, hint: object) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        return len(kinds) == len(value) and all(_fits(item, kind) for item, kind in zip(value, kinds, strict=True))
    if hint is None or hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) else True


def _words(hint: object) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    return f"a value of type {getattr(hint, '__name__', hint)}"
