"""Where the user's own files are."""

from __future__ import annotations

from pathlib import Path


def own_path(name: str, *, folder: Path | None) -> Path:
    """Return the path in a data set's name, such as ``image-folder:PATH``.

    A relative one starts at the working directory, or else at the data ``folder``, if it exists there.
    """
    path = Path(name.partition(":")[2]).expanduser()
    return folder / path if folder is not None and not path.exists() and (folder / path).exists() else path
