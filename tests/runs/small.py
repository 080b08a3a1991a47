"""The smallest tournament, played whole or in part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from arena.referee.tournament_file import tournament_from
from arena.runs.folder import Settings, create_run_folder, site_of
from arena.runs.playing import admit_all, play_run
from arena.runs.selection import Selection

TABLE = {
    "name": "tiny",
    "secret": "stated",
    "victims": [{"name": "iris", "arch": "mlp", "steps": 20}],
    "attacks": [{"name": "knockoff", "steps": 5}, {"name": "uniform-noise", "steps": 5}],
    "defenses": ["none", {"name": "rounding", "decimals": 1}],
    "budgets": [10],
    "seeds": 1,
    "recipe": {"steps": 5},
}


def play(folder: Path, cache: Path, *, only: Sequence[str] = (), reuse: Sequence[Path] = (), **changes: object) -> Path:
    """Play the tournament in a new folder, in this process, and return the folder."""
    terms = tournament_from({**TABLE, **changes}, where="here", folder=Path())
    settings = Settings(runner="local", mlflow="none", cache=str(cache))
    admitted = admit_all(terms, site_of(folder, terms, settings))
    create_run_folder(folder, terms, settings, admitted)
    matchups = Selection.read(only).of(admitted.matchups)
    play_run(folder, terms, settings, matchups, reuse=reuse, on_progress=lambda progress: None)
    return folder
