"""Tournaments by name: a TOML file, or a preset that ships with the package."""

from __future__ import annotations

from pathlib import Path

from arena.contracts import UnknownName

PRESETS = Path(__file__).parents[1] / "tournaments"


def find_tournament(name: str) -> Path:
    """Return the file of a tournament: a path, or the name of a preset that ships with the arena."""
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return path
    preset = PRESETS / f"{name}.toml"
    if not preset.exists():
        message = f"there is no file and no preset {name!r}; presets are {', '.join(preset_names())}"
        raise UnknownName(message)
    return preset


def preset_names() -> list[str]:
    """Return the tournaments that ship with the arena."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))
