"""Shows what was read from the user's own files before anything is played with it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.text import Text

from arena.cli.console import errors
from arena.contracts import Spec
from arena.match.victims import load_splits
from arena.payoff.matrix import label


def show_own_data(victims: Iterable[Spec], data: Path | None) -> None:
    """Print the classes and sizes of victims from the user's own files, and what was left out; nothing for others."""
    for victim in dict.fromkeys(victims):
        for note in load_splits(victim, data).notes:
            errors.print(Text.assemble(("data: ", "yellow"), f"{label(victim)}: {note}"))
