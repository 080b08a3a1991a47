"""Labelled data sets by name: scikit-learn's from the package, torchvision's and the user's own from disk.

Nothing is ever downloaded. If data are missing, `DataMissing` says how to fetch them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias, cast

import torch
from PIL import Image
from torch import Tensor

from arena.contracts import BadParameter, DataMissing, UnknownName, nearest
from arena.data.colouring import coloured
from arena.data.dataset import Dataset
from arena.data.image_folders import IMAGE_FOLDER, load_image_folder
from arena.data.images import reshaped, square_levels
from arena.data.table_files import TABLE, load_table
from arena.learning.torchvision_import import torchvision_module

FOLDER_VARIABLE = "ARENA_DATA"
DEFAULT_FOLDER = Path("data")
DEFAULT_SIDES = {"flowers-102": 64, IMAGE_FOLDER: 32}
"""Pictures on disk have any size; they are cropped and resized to a square of this side unless another is set."""

Arguments: TypeAlias = Mapping[str, str | bool]
"""The keyword arguments that select a part of a torchvision data set."""


def load(
    name: str,
    *,
    folder: Path | None = None,
    side: int | None = None,
    grey: bool = False,
    label: str = "",
    drop: tuple[str, ...] = (),
) -> Dataset:
    """Return a data set from ``folder``, which defaults to the one that ARENA_DATA names, or else ``data``.

    ``side`` resizes images to a square and ``grey`` converts them. ``label`` names the column of a table's file that
    holds the classes, and ``drop`` columns to leave out. Raises `UnknownName`, `BadParameter` or `DataMissing`.
    """
    table = name.startswith(TABLE)
    if (label or drop) and not table:
        message = f"label and drop are for tables of your own ({TABLE}/a/path.csv), and do not apply to {name}"
        raise BadParameter(message)
    if side is not None and side < 1:
        message = f"side = {side} must be at least 1"
        raise BadParameter(message)
    if (table or name in _TABLES or name in _DIGITS) and (side is not None or grey):
        why = "is a table" if table else "comes from scikit-learn unchanged"
        message = f"{name} {why}, so side and grey do not apply to it"
        raise BadParameter(message)
    if table:
        return load_table(name, folder=data_folder(folder), label=label, drop=drop)
    if name in _TABLES or name in _DIGITS:
        return _DIGITS[name]() if name in _DIGITS else _table(name)
    if name.startswith(IMAGE_FOLDER):
        return load_image_folder(name, folder=data_folder(folder), side=side or DEFAULT_SIDES[IMAGE_FOLDER], grey=grey)
    if name not in _TORCHVISION:
        message = f"no data set {name!r}{nearest(name, dataset_names())}; there are {', '.join(dataset_names())} "
        message += f"and, with your own data, {IMAGE_FOLDER}/a/path and {TABLE}/a/path.csv"
        raise UnknownName(message)
    return _torchvision(name, data_folder(folder), side=side, grey=grey)


def dataset_names() -> tuple[str, ...]:
    """Return the names that `load` accepts, except ``image-folder:/a/path`` and ``table:/a/path.csv``."""
    return (*_DIGITS, *_TABLES, *_TORCHVISION)


def data_folder(folder: Path | None) -> Path:
    """Return ``folder`` if it is given, else the folder that ARENA_DATA names, else ``data``."""
    return folder or Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    found = load_digits()
    return Dataset(
        name="digits",
        stored=torch.tensor(found.images, dtype=torch.float32).unsqueeze(1) / 16,  # 17 levels: k / 16 is exact
        labels=torch.tensor(found.target, dtype=torch.int64),
        class_names=tuple(str(label) for label in found.target_names),
    )


def _colour_digits() -> Dataset:
    grey = _digits()
    return replace(grey, name="colour-digits", stored=coloured(grey.stored, name="colour-digits"))


def _table(name: str) -> Dataset:
    from sklearn import datasets

    found = getattr(datasets, _TABLES[name])()
    return Dataset(
        name=name,
        stored=torch.tensor(found.data, dtype=torch.float32),
        labels=torch.tensor(found.target, dtype=torch.int64),
        class_names=tuple(str(label) for label in found.target_names),
    )


class _Labelled(NamedTuple):
    """Images (N, C, H, W) uint8 and their labels (N,)."""

    images: Tensor
    labels: Tensor


class _Pictures(Protocol):
    """A torchvision data set that loads its pictures from files, one by one."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> tuple[Image.Image, int]: ...


@dataclass(frozen=True, kw_only=True)
class _Published:
    """A data set of torchvision: its class, the arguments of its parts, and how a part is read."""

    kind: str
    read: Callable[[object, int | None], _Labelled]
    """Reads a part; the second argument is the side to which pictures of any size are resized."""
    training: tuple[Arguments, ...] = ({"train": True},)
    test: Arguments = field(default_factory=lambda: {"train": False})

    @property
    def parts(self) -> tuple[Arguments, ...]:
        return (*self.training, self.test)


def _torchvision(name: str, folder: Path, *, side: int | None, grey: bool) -> Dataset:
    published = _TORCHVISION[name]
    kind = getattr(torchvision_module("datasets"), published.kind)
    try:
        parts = [kind(str(folder), **arguments) for arguments in published.parts]
    except (RuntimeError, FileNotFoundError) as error:
        fetch = "; ".join(
            f"d.{published.kind}('{folder}', {', '.join(f'{k}={v!r}' for k, v in arguments.items())}, download=True)"
            for arguments in published.parts
        )
        message = (
            f"{name} is not in {folder} ({error}). Name its folder with --data or {FOLDER_VARIABLE}, or fetch it:\n"
            f'python -c "import torchvision.datasets as d; {fetch}"'
        )
        raise DataMissing(message) from error
    read = [published.read(part, side) for part in parts]
    stored, labels = (torch.cat(column) for column in zip(*read, strict=True))
    channels, height, width = stored.shape[1:]
    shape = (1 if grey else channels, side or height, side or width)
    return Dataset(
        name=name,
        stored=stored if shape == (channels, height, width) else reshaped(stored, shape),
        labels=labels.to(torch.int64),
        class_names=_class_names(name, parts[0], classes=int(labels.max()) + 1),
        official_test=len(parts[-1]),
    )


def _class_names(name: str, part: object, *, classes: int) -> tuple[str, ...]:
    names = [str(label) for label in getattr(part, "classes", range(classes))]
    return tuple(names[1:] if name == "emnist" else names)


def _values(part: object, name: str) -> Tensor:
    """Return an attribute of a torchvision data set, which may be a tensor, an array or a list, as a tensor."""
    return torch.as_tensor(getattr(part, name))


def _read_mnist(part: object, side: int | None) -> _Labelled:
    return _Labelled(_values(part, "data").unsqueeze(1), _values(part, "targets"))


def _read_emnist(part: object, side: int | None) -> _Labelled:
    upright = _values(part, "data").transpose(1, 2)  # in the files, letters are transposed and counted from 1
    return _Labelled(upright.unsqueeze(1).contiguous(), _values(part, "targets") - 1)


def _read_cifar(part: object, side: int | None) -> _Labelled:
    return _Labelled(_values(part, "data").permute(0, 3, 1, 2).contiguous(), _values(part, "targets"))


def _read_svhn(part: object, side: int | None) -> _Labelled:
    return _Labelled(_values(part, "data"), _values(part, "labels"))


def _read_flowers(part: object, side: int | None) -> _Labelled:
    side, pictures = side or DEFAULT_SIDES["flowers-102"], cast(_Pictures, part)
    pairs = (pictures[row] for row in range(len(pictures)))
    images, labels = zip(
        *((square_levels(picture, side=side, grey=False), label) for picture, label in pairs), strict=True
    )
    return _Labelled(torch.stack(images), torch.tensor(labels))


_DIGITS = {"digits": _digits, "colour-digits": _colour_digits}
_TABLES = {"breast-cancer": "load_breast_cancer", "wine": "load_wine", "iris": "load_iris"}
_TORCHVISION = {
    "mnist": _Published(kind="MNIST", read=_read_mnist),
    "fashion-mnist": _Published(kind="FashionMNIST", read=_read_mnist),
    "kmnist": _Published(kind="KMNIST", read=_read_mnist),
    "emnist": _Published(  # the letters: 26 classes, lower and upper case together
        kind="EMNIST",
        read=_read_emnist,
        training=({"split": "letters", "train": True},),
        test={"split": "letters", "train": False},
    ),
    "cifar-10": _Published(kind="CIFAR10", read=_read_cifar),  # pickles, whose digests torchvision checks first
    "cifar-100": _Published(kind="CIFAR100", read=_read_cifar),
    "svhn": _Published(kind="SVHN", read=_read_svhn, training=({"split": "train"},), test={"split": "test"}),
    "flowers-102": _Published(
        kind="Flowers102",
        read=_read_flowers,
        training=({"split": "train"}, {"split": "val"}),
        test={"split": "test"},
    ),
}
