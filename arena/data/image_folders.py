"""A folder of your own pictures, with a folder for each class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from arena.contracts import BadParameter, DataMissing
from arena.data.dataset import Dataset
from arena.data.images import square_levels
from arena.data.own_paths import own_path
from arena.data.pictures import picture_suffixes, read_picture

IMAGE_FOLDER = "image-folder:"

NO_CLASSES = frozenset({"__MACOSX", "@eaDir"})
"""Folders that archives and storage systems add, and that hold no pictures of ours; hidden ones begin with a dot."""

SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing", "dev"})
"""Names of folders that hold a part of a data set rather than a class."""

NAMED_SUFFIXES = 5  # endings of files that are left out, in a note


@dataclass(frozen=True, kw_only=True)
class Found:
    """The picture files of a folder by class, in the order of their names, and the endings of those left out."""

    files: dict[str, list[Path]]
    left_out: Counter[str]


def load_image_folder(name: str, *, folder: Path | None, side: int, grey: bool) -> Dataset:
    """Return the pictures of ``image-folder:PATH``, each cut to its central square and resized to ``side``.

    A relative path starts at the working directory, or else at the data ``folder``. Raises `DataMissing` if there is no
    folder with a folder of pictures for each class, and `BadParameter` with the name of a picture that cannot be read.
    """
    path = own_path(name, folder=folder)
    found = _found(path)
    pictures = [file for files in found.files.values() for file in files]
    levels = torch.empty(len(pictures), 1 if grey else 3, side, side, dtype=torch.uint8)
    for place, file in zip(levels, pictures, strict=True):
        place.copy_(square_levels(read_picture(file), side=side, grey=grey))
    sizes = [len(files) for files in found.files.values()]
    return Dataset(
        name=f"{IMAGE_FOLDER}{path.name}",  # not the whole path, so that a copy elsewhere is split in the same way
        stored=levels,
        labels=torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)),
        class_names=tuple(found.files),
        own=True,
        notes=tuple(_notes(path, found)),
    )


def _found(path: Path) -> Found:
    if not path.is_dir():
        message = f"{path} is not a folder with a folder of images for each class: there is no such folder"
        raise DataMissing(message)
    suffixes, left_out = picture_suffixes(), Counter[str]()
    files: dict[str, list[Path]] = {}
    for name in sorted(entry.name for entry in path.iterdir() if entry.is_dir() and _is_class(entry.name)):
        inside = list(_files(path / name))
        files[name] = [file for file in inside if file.suffix.lower() in suffixes]
        left_out.update(file.suffix.lower() or file.name for file in inside if file.suffix.lower() not in suffixes)
    empty = [name for name, inside in files.items() if not inside]
    if not files or empty:
        why = f"there are no pictures in {', '.join(empty)}" if empty else "it has no folders but hidden ones"
        message = (
            f"{path} is not a folder with a folder of images for each class: {why}"
            f"{f' ({_left_out(left_out)})' if left_out else ''}. Remove empty folders, and give the folder whose folders "
            "are the classes"
        )
        raise DataMissing(message)
    if len(files) < 2:
        message = f"{path} has a single class, {next(iter(files))}: a classifier needs a folder for each of two or more"
        raise BadParameter(message)
    return Found(files=files, left_out=left_out)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that are not hidden, in the order of their paths."""
    for root, _, names in sorted(os.walk(folder, followlinks=True)):
        inside = Path(root).relative_to(folder).parts
        if all(_is_class(part) for part in inside):
            yield from (Path(root) / name for name in sorted(names) if not name.startswith("."))


def _is_class(name: str) -> bool:
    return not name.startswith(".") and name not in NO_CLASSES


def _notes(path: Path, found: Found) -> Iterator[str]:
    parts = [name for name in found.files if name.lower() in SPLIT_NAMES]
    if parts:
        inside = sorted(entry.name for entry in (path / parts[0]).iterdir() if entry.is_dir() and _is_class(entry.name))
        meant = f", or give {path / parts[0]}, whose folders are {', '.join(inside)}" if inside else ""
        yield (
            f"the classes include {', '.join(parts)}, which are usual names for parts of a data set: if they are no "
            f"classes, put all pictures of a class into one folder{meant}"
        )
    if found.left_out:
        yield _left_out(found.left_out)


def _left_out(endings: Counter[str]) -> str:
    shown = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(NAMED_SUFFIXES))
    more = ", ..." if len(endings) > NAMED_SUFFIXES else ""
    return f"left out, because Pillow cannot open such files: {shown}{more}"
