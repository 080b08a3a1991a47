"""Frees disk space: cached victims, defenses and clones, and transcripts of runs, by age and by total size."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from arena.contracts import BadParameter, UnknownName
from arena.report.files import write_whole
from arena.runs.continuing import holds_a_run
from arena.runs.folder import PRUNED, TRANSCRIPTS, alone_in, pruned_transcripts

DAY = 86_400.0  # seconds
_AGES = {"h": 3_600.0, "d": DAY, "w": 7 * DAY}
_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@dataclass(frozen=True, kw_only=True)
class Prunable:
    """A file that may be removed: what it is, its bytes, and when it was last used, in seconds since the epoch."""

    path: Path
    kind: str
    size: int
    used: float


def cached_files(cache: Path) -> list[Prunable]:
    """Return what is cached: trained victims, defenses, surrogates and clones, each of which can be trained again."""
    return [_prunable(path, path.stem.partition("-")[0]) for path in sorted(cache.glob("*.safetensors"))]


def transcripts_in(folder: Path) -> list[Prunable]:
    """Return the transcripts of a run, which cannot be made again without playing. Raises `UnknownName`."""
    if not holds_a_run(folder):
        message = f"{folder} is not a run folder; give run folders, or none to prune the cache"
        raise UnknownName(message)
    return [_prunable(path, "transcript") for path in sorted((folder / TRANSCRIPTS).iterdir())]


def chosen(
    files: Sequence[Prunable], *, now: float, older_than: float | None = None, down_to: int | None = None
) -> list[Prunable]:
    """Return the files to remove, those first that were not used for longest.

    These are all files unused for ``older_than`` seconds, and then as many as it takes until the rest has at most
    ``down_to`` bytes.
    """
    total = sum(file.size for file in files)
    wanted = []
    for file in sorted(files, key=lambda file: (file.used, file.path)):
        too_old = older_than is not None and now - file.used > older_than
        if too_old or (down_to is not None and total > down_to):
            wanted.append(file)
            total -= file.size
    return wanted


def remove(files: Iterable[Prunable], *, folders: Sequence[Path] = ()) -> None:
    """Remove files; the run folders ``folders`` record which of their transcripts are gone.

    Raises `RunFolderBusy` if one of them is being played.
    """
    remaining = list(files)
    for folder in folders:
        own = [file for file in remaining if file.path.parent == folder / TRANSCRIPTS]
        if not own:
            continue
        with alone_in(folder):
            names = sorted(pruned_transcripts(folder) | {file.path.name for file in own})
            write_whole(folder / PRUNED, json.dumps(names) + "\n")  # first, so that a kill leaves no unexplained gap
            _unlink(own)
        remaining = [file for file in remaining if file not in own]
    _unlink(remaining)


def age(text: str) -> float:
    """Return the seconds of an age such as ``30d``, ``12h`` or ``2w``. Raises `BadParameter`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([hdw])", text.strip().lower())
    if found is None:
        message = f"an age is a number of hours, days or weeks, such as 12h, 30d or 2w, not {text!r}"
        raise BadParameter(message)
    return float(found[1]) * _AGES[found[2]]


def size(text: str) -> int:
    """Return the bytes of a size such as ``500MB`` or ``2GB``. Raises `BadParameter`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.strip().lower())
    if found is None:
        message = f"a size is a number of bytes, such as 500MB or 2GB, not {text!r}"
        raise BadParameter(message)
    return int(float(found[1]) * _SIZES[found[2]])


def size_in_words(number: int) -> str:
    """Return a number of bytes for a reader, such as ``1.5 GB``."""
    for unit, one in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= one:
            return f"{number / one:.1f} {unit}"
    return f"{number} bytes"


def _prunable(path: Path, kind: str) -> Prunable:
    about = path.stat()
    return Prunable(path=path, kind=kind, size=about.st_size, used=max(about.st_atime, about.st_mtime))


def _unlink(files: Iterable[Prunable]) -> None:
    for file in files:
        file.path.unlink(missing_ok=True)
