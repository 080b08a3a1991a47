"""Finds tournaments: a TOML file by its path, or a preset that ships with the package by its name."""

from __future__ import annotations

from pathlib import Path

from arena.contracts import UnknownName

PRESETS = Path(__file__).parents[1] / "tournaments"


def find_tournament(name: str) -> Path:
    """Return the file of a tournament, given by its path or by the name of a preset. Raises `UnknownName`."""
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return path
    preset = PRESETS / f"{name}.toml"
    if not preset.exists():
        message = f"there is no tournament file or preset {name!r}; the presets are {', '.join(preset_names())}"
        raise UnknownName(message)
    return preset


def preset_names() -> list[str]:
    """Return the names of the tournaments that ship with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))
