"""Keys of results: two results have the same key if everything that they depend on is equal by content.

A key covers every row of data, every file, the code that trains, attacks, defends and scores, the versions of the
libraries, the kind of device, the secret, and the matchup. It does not depend on the names or places of files.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version

import torch

from arena.contracts import Matchup, Parameter, Spec, to_json
from arena.match.rows import outliers_digest, pool_digest
from arena.match.rules import RULES
from arena.match.site import Site
from arena.match.victims import data_digest, victim_digest
from arena.payoff.matrix import label
from arena.provenance import code_digest_of
from arena.registry import SANDBOX, Role, code_digest, entries_in, entry_folder, isolation_of, resolved
from arena.sandbox.interpreter import interpreter

REFEREE = "arena.match.play"
"""The module that plays and scores a match; with everything that it imports, it is the referee's own code."""

LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn")
"""The packages whose arithmetic or networks may affect a result."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """Something that a result depends on: what it is, to whom it belongs, and the digest of its content."""

    kind: str  # "the data of", "the attack", ...
    of: str = ""  # the player or victim as it is shown; no key includes it, because it may hold a path
    digest: str

    @property
    def words(self) -> str:
        """What this is, for a message, such as ``the data of digits``."""
        return f"{self.kind} {self.of}".rstrip()


def result_key(matchup: Matchup, site: Site) -> str:
    """Return the key of a matchup's result, as 16 hex digits; a stored result with this key can be reused."""
    return _digest("\n".join([_terms(matchup), *(f"{one.kind} {one.digest}" for one in _inputs(matchup, site))]))


def inputs_of(matchup: Matchup, site: Site) -> dict[str, str]:
    """Return everything besides the matchup's terms that a result depends on: digests of content, by description."""
    return {one.words: one.digest for one in _inputs(matchup, site)}


def _inputs(matchup: Matchup, site: Site) -> Iterator[Input]:
    victim = label(matchup.victim)
    yield Input(kind="the rules", digest=RULES)
    yield Input(kind="the referee's code", digest=code_digest_of(REFEREE))
    yield Input(kind="the kind of device", digest=torch.device(site.device).type)
    yield Input(kind="the secret", digest=site.secret.digest)
    yield from (Input(kind=f"the version of {name}", digest=number) for name, number in _libraries())
    yield Input(kind="the data of", of=victim, digest=data_digest(matchup.victim, site))
    yield Input(kind="the victim", of=victim, digest=victim_digest(matchup.victim))
    yield Input(kind=f"the pool {matchup.pool}", of=matchup.pool_source, digest=pool_digest(matchup, site))
    if matchup.knowledge.outliers != "none":
        yield Input(kind=f"the outliers {matchup.knowledge.outliers}", digest=outliers_digest(matchup, site))
    if entries_in(matchup.attack) or entries_in(matchup.defense):
        isolation = isolation_of(matchup.attack, matchup.defense, otherwise="none")
        packages = interpreter().digest if isolation == SANDBOX else ""
        yield Input(kind="the isolation of entries", digest=f"{isolation} {packages}".strip())
    players: list[tuple[Role, Spec]] = [("attack", matchup.attack), ("defense", matchup.defense)]
    players += [("explanation", matchup.explanation)] if matchup.explanation is not None else []
    players += [("threat", threat) for threat in matchup.threats]
    for role, spec in players:
        yield Input(kind=f"the {role}", of=label(spec), digest=_player(role, spec))


def inputs_of_all(matchups: Iterable[Matchup], site: Site) -> dict[str, str]:
    """Return what the results of several matchups depend on; inputs of the same description share one digest."""
    found: dict[str, set[str]] = {}
    for matchup in matchups:
        for name, digest in inputs_of(matchup, site).items():
            found.setdefault(name, set()).add(digest)
    return {name: _digest("\n".join(sorted(digests))) for name, digests in sorted(found.items())}


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the descriptions of the inputs that differ."""
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _terms(matchup: Matchup) -> str:
    """Return a matchup's terms without the names and paths that the inputs cover by content."""
    placeless = replace(
        matchup,
        victim=Spec(name=""),
        attack=_placeless(matchup.attack),
        defense=_placeless(matchup.defense),
        pool_source="",
    )
    return json.dumps(to_json(placeless), sort_keys=True)


def _placeless(spec: Spec) -> Spec:
    """Return a spec that identifies entries, including nested ones, by the digest of their files, not by their path."""

    def without_places(value: Parameter) -> Parameter:
        if isinstance(value, tuple):
            return tuple(without_places(item) for item in value)
        return _placeless(value) if isinstance(value, Spec) else value

    params = tuple((key, without_places(value)) for key, value in spec.params)
    name = "entry" if entry_folder(spec.name) is not None else spec.name
    return replace(spec, name=name, params=params)


@functools.cache
def _player(role: Role, spec: Spec) -> str:
    """Return the digest of a player: its code, and all its parameters including defaults."""
    return _digest(f"{code_digest(role, spec)} {resolved(role, spec)}")


@functools.cache
def _libraries() -> tuple[tuple[str, str], ...]:
    return tuple(_versions())


def _versions() -> Iterator[tuple[str, str]]:
    for name in LIBRARIES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
