"""Labelled data sets by name: scikit-learn's from the package, torchvision's and image folders from disk.

Nothing is ever downloaded: data that are not there raise `DataMissing`, which says how to fetch them.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arena.contracts import BadParameter, DataMissing, UnknownName
from arena.data.images import reshaped, square_levels, to_unit
from arena.learning.torchvision_import import torchvision_module

FOLDER_VARIABLE = "ARENA_DATA"
DEFAULT_FOLDER = Path("data")
IMAGE_FOLDER = "image-folder:"
DEFAULT_SIDES = {"flowers-102": 64, IMAGE_FOLDER: 32}
"""Pictures on disk have any size; they are cut and resized to a square of this side unless another is asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """N labelled rows as they are stored; table columns keep their own units until `splits.split` scales them."""

    name: str
    stored: Tensor  # (N, *shape): uint8 grey levels, or float32 as it is
    labels: Tensor  # (N,) int64
    class_names: tuple[str, ...]
    official_test: int = 0  # this many rows at the end are the test set of whoever published the data

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.stored.shape[1:])

    @property
    def inputs(self) -> Tensor:
        """All rows (N, *shape) float32; images in [0, 1]."""
        return self.rows(torch.arange(len(self.stored)))

    def rows(self, chosen: Tensor) -> Tensor:
        """Rows ``chosen`` (M,) int64 as float32 (M, *shape); images in [0, 1]."""
        rows = self.stored[chosen]
        return to_unit(rows) if rows.dtype == torch.uint8 else rows.float()


def load(name: str, *, folder: Path | None = None, side: int | None = None, grey: bool = False) -> Dataset:
    """Return a data set; ``folder`` None stands for ARENA_DATA, else ``data``.

    ``side`` and ``grey`` resize and convert images. Raises `UnknownName`, `BadParameter` or `DataMissing`.
    """
    if side is not None and side < 1:
        message = f"side = {side}: an image has at least one pixel a side"
        raise BadParameter(message)
    if name in _TABLES or name == "digits":
        if side is not None or grey:
            message = f"{name} comes from scikit-learn as it is: side and grey do not apply to it"
            raise BadParameter(message)
        return _digits() if name == "digits" else _table(name)
    if name.startswith(IMAGE_FOLDER):
        return _image_folder(name, side=side or DEFAULT_SIDES[IMAGE_FOLDER], grey=grey)
    if name not in _TORCHVISION:
        near = difflib.get_close_matches(name, dataset_names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        message = f"no data set {name!r}{hint} There are {', '.join(dataset_names())} and {IMAGE_FOLDER}/a/path"
        raise UnknownName(message)
    return _torchvision(name, data_folder(folder), side=side, grey=grey)


def dataset_names() -> tuple[str, ...]:
    """Return the names of `load`, but for ``image-folder:/a/path``."""
    return ("digits", *_TABLES, *_TORCHVISION)


def data_folder(folder: Path | None) -> Path:
    """Return ``folder``, else what ARENA_DATA names, else ``data``."""
    return folder or Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)


def _digits() -> Dataset:
    """Read the file that scikit-learn ships: importing its loader takes most of a second, in each process of a run."""
    package = importlib.util.find_spec("sklearn")
    assert package is not None, "arena depends on scikit-learn"
    assert package.submodule_search_locations is not None, "it is a package"
    rows = np.loadtxt(Path(package.submodule_search_locations[0], *_DIGITS), delimiter=",", dtype=np.float32)
    levels, labels = torch.from_numpy(rows).split([rows.shape[1] - 1, 1], dim=1)
    return Dataset(
        name="digits",
        stored=levels.reshape(-1, 1, 8, 8) / 16,  # 17 levels: k / 16 is exact
        labels=labels.squeeze(1).to(torch.int64),
        class_names=tuple(str(label) for label in range(10)),
    )


def _table(name: str) -> Dataset:
    from sklearn import datasets

    found = getattr(datasets, _TABLES[name])()
    return Dataset(
        name=name,
        stored=torch.tensor(found.data, dtype=torch.float32),
        labels=torch.tensor(found.target, dtype=torch.int64),
        class_names=tuple(str(label) for label in found.target_names),
    )


def _image_folder(name: str, *, side: int, grey: bool) -> Dataset:
    path = Path(name.removeprefix(IMAGE_FOLDER)).expanduser()
    try:
        found = torchvision_module("datasets").ImageFolder(str(path))
    except FileNotFoundError as error:
        message = f"{path} is not a folder with one folder of images for each class: {error}"
        raise DataMissing(message) from error
    return Dataset(
        name=f"{IMAGE_FOLDER}{path.name}",  # not the whole path: a copy elsewhere is split the same way
        stored=torch.stack([square_levels(found.loader(file), side=side, grey=grey) for file, _ in found.samples]),
        labels=torch.tensor(found.targets, dtype=torch.int64),
        class_names=tuple(found.classes),
    )


@dataclass(frozen=True, kw_only=True)
class _Published:
    """A data set of torchvision: its class, the arguments of its parts, and how a part is read."""

    kind: str
    read: Callable[[Any, int | None], tuple[Tensor, Tensor]]
    """Part and wanted side (for pictures of any size) to uint8 (N, C, H, W) and labels (N,)."""
    training: tuple[Mapping[str, Any], ...] = ({"train": True},)
    test: Mapping[str, Any] = field(default_factory=lambda: {"train": False})

    @property
    def parts(self) -> tuple[Mapping[str, Any], ...]:
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


def _class_names(name: str, part: Any, *, classes: int) -> tuple[str, ...]:
    names = [str(label) for label in getattr(part, "classes", range(classes))]
    return tuple(names[1:] if name == "emnist" else names)


def _read_mnist(part: Any, side: int | None) -> tuple[Tensor, Tensor]:
    return part.data.unsqueeze(1), part.targets


def _read_emnist(part: Any, side: int | None) -> tuple[Tensor, Tensor]:
    upright = part.data.transpose(1, 2)  # the files hold each letter transposed, and count the letters from 1
    return upright.unsqueeze(1).contiguous(), part.targets - 1


def _read_cifar(part: Any, side: int | None) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets)


def _read_svhn(part: Any, side: int | None) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(part.data), torch.from_numpy(part.labels)


def _read_flowers(part: Any, side: int | None) -> tuple[Tensor, Tensor]:
    side = side or DEFAULT_SIDES["flowers-102"]
    pairs = (part[row] for row in range(len(part)))
    pictures, labels = zip(
        *((square_levels(picture, side=side, grey=False), label) for picture, label in pairs), strict=True
    )
    return torch.stack(pictures), torch.tensor(labels)


_DIGITS = ("datasets", "data", "digits.csv.gz")  # below scikit-learn's folder; the last column is the label
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
    "cifar-10": _Published(kind="CIFAR10", read=_read_cifar),  # pickles: torchvision checks their digests first
    "cifar-100": _Published(kind="CIFAR100", read=_read_cifar),
    "svhn": _Published(kind="SVHN", read=_read_svhn, training=({"split": "train"},), test={"split": "test"}),
    "flowers-102": _Published(
        kind="Flowers102",
        read=_read_flowers,
        training=({"split": "train"}, {"split": "val"}),
        test={"split": "test"},
    ),
}
