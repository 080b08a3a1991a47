"""Where a match is played: folders, device, and how long each stage may take."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from arena.data.datasets import FOLDER_VARIABLE
from arena.match.secret import PUBLIC, Secret

CACHE_VARIABLE = "ARENA_CACHE"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds that each stage of a match may take."""

    prepare: float = 3600.0  # training the victim, the defense, the surrogate
    deploy: float = 120.0  # opening the oracle
    play: float = 1800.0
    close: float = 120.0
    score: float = 1800.0


@dataclass(frozen=True, kw_only=True)
class Site:
    """What a process needs to play a match; only the secret and the device may change the result."""

    work: Path  # ledgers of this run
    data: Path | None = None  # data sets in torchvision's layout; None: only those that ship with packages
    pictures: Path | None = None  # where image grids are written; None: nowhere
    cache: Path = field(default_factory=lambda: default_cache())  # trained victims and defenses
    device: str = "cpu"
    limits: Limits = Limits()
    sandboxed: bool = False  # whether entries run in a sandbox; else the processes of the match import them
    secret: Secret = PUBLIC  # behind the randomness of the referee and the defense


def default_cache() -> Path:
    """Return the folder that ``ARENA_CACHE`` names, by default ``arena`` in the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "arena"


def default_data() -> Path | None:
    """Return the folder that ``ARENA_DATA`` names, or None if it is not set."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else None
