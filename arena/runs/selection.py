"""Chooses some matchups of a tournament, as in ``attack=knockoff``; the others can be played later, or elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arena.contracts import BadParameter, Matchup, Spec, UnknownName, nearest
from arena.payoff.matrix import bare_label, label

KINDS = ("attack", "defense", "victim", "pool", "seed")
EXAMPLE = "attack=knockoff"

_VERSION = re.compile(r"@\d+")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The values that are wanted of each kind; a kind without values allows all of them."""

    wanted: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, words: Sequence[str]) -> Selection:
        """Return the selection of words such as ``attack=knockoff``. Raises `BadParameter`."""
        wanted: dict[str, tuple[str, ...]] = {}
        for word in words:
            kind, equals, value = word.partition("=")
            if kind not in KINDS or not equals or not value:
                message = f"--only {word}: write KIND=VALUE, as in {EXAMPLE}; KIND is one of {', '.join(KINDS)}"
                raise BadParameter(message)
            wanted[kind] = (*wanted.get(kind, ()), value)
        return cls(wanted=wanted)

    def of(self, matchups: Sequence[Matchup]) -> list[Matchup]:
        """Return the matchups that have one of the wanted values of each kind.

        Raises `UnknownName` for a value that no matchup has, and if no matchup has all of them.
        """
        for kind, values in self.wanted.items():
            _check(kind, values, matchups)
        chosen = [matchup for matchup in matchups if self._allows(matchup)]
        if not chosen:
            words = " ".join(f"{kind}={'|'.join(values)}" for kind, values in self.wanted.items())
            message = f"--only: no match of this tournament is {words}; leave one of them out"
            raise UnknownName(message)
        return chosen

    def _allows(self, matchup: Matchup) -> bool:
        return all(not names_of(kind, matchup).isdisjoint(values) for kind, values in self.wanted.items())


def names_of(kind: str, matchup: Matchup) -> set[str]:
    """Return every name under which the value of a kind can be chosen, such as ``mad`` and ``mad(epsilon=0.5)``."""
    match kind:
        case "attack":
            return _names(matchup.attack)
        case "defense":
            return _names(matchup.defense)
        case "victim":
            return _names(matchup.victim)
        case "pool":
            return {matchup.pool, *([f"{matchup.pool}:{matchup.pool_source}"] if matchup.pool_source else [])}
    return {str(matchup.seed)}


def _names(spec: Spec) -> set[str]:
    labels = {label(spec), bare_label(spec)}
    return {spec.name, spec.full_name, Path(spec.name).name} | labels | {_VERSION.sub("", text) for text in labels}


def _check(kind: str, values: Iterable[str], matchups: Sequence[Matchup]) -> None:
    known = {name for matchup in matchups for name in names_of(kind, matchup)}
    for value in values:
        if value not in known:
            shown = sorted({min(names_of(kind, matchup), key=len) for matchup in matchups})
            message = (
                f"--only: no {kind} of this tournament is {value!r}{nearest(value, known)}; it has {', '.join(shown)}"
            )
            raise UnknownName(message)
