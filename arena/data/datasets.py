"""Labelled data sets by name: scikit-learn's from the package, torchvision's and image folders from disk.

Nothing is ever downloaded: data that are not there raise `DataMissing`, which says how to fetch them.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    from sklearn.datasets import load_digits

    found = load_digits()
    return Dataset(
        name="digits",
        stored=torch.tensor(found.images, dtype=torch.float32).unsqueeze(1) / 16,  # 17 levels: k / 16 is exact
        labels=torch.tensor(found.target, dtype=torch.int64),
        class_names=tuple(str(label) for label in found.target_names),
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
    """A data set of torchvision: its class, the arguments of its parts, and what a part holds."""

    kind: str
    training: tuple[Mapping[str, Any], ...] = ({"train": True},)
    test: Mapping[str, Any] = field(default_factory=lambda: {"train": False})
    levels: Callable[[Any], Tensor]  # part -> uint8 (N, C, H, W)
    labels: Callable[[Any], Tensor] = lambda part: torch.as_tensor(part.targets)

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
    stored = torch.cat([published.levels(part) for part in parts])
    side = side or stored.shape[-1]
    shape = (1 if grey else stored.shape[1], side, side)
    labels = torch.cat([published.labels(part) for part in parts]).to(torch.int64)
    return Dataset(
        name=name,
        stored=stored if shape == tuple(stored.shape[1:]) else reshaped(stored, shape),
        labels=labels,
        class_names=_class_names(name, parts[0], classes=int(labels.max()) + 1),
        official_test=len(parts[-1]),
    )


def _class_names(name: str, part: Any, *, classes: int) -> tuple[str, ...]:
    names = [str(label) for label in getattr(part, "classes", range(classes))]
    return tuple(names[1:] if name == "emnist" else names)


def _mnist_levels(part: Any) -> Tensor:
    levels: Tensor = part.data
    return levels.unsqueeze(1)


def _emnist_levels(part: Any) -> Tensor:
    levels: Tensor = part.data  # EMNIST's files hold each letter transposed
    return levels.transpose(1, 2).unsqueeze(1).contiguous()


def _cifar_levels(part: Any) -> Tensor:
    return torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()


def _flowers_levels(part: Any) -> Tensor:
    side = DEFAULT_SIDES["flowers-102"]
    return torch.stack([square_levels(part[row][0], side=side, grey=False) for row in range(len(part))])


_TABLES = {"breast-cancer": "load_breast_cancer", "wine": "load_wine", "iris": "load_iris"}
_TORCHVISION = {
    "mnist": _Published(kind="MNIST", levels=_mnist_levels),
    "fashion-mnist": _Published(kind="FashionMNIST", levels=_mnist_levels),
    "kmnist": _Published(kind="KMNIST", levels=_mnist_levels),
    "emnist": _Published(  # the letters: 26 classes, lower and upper case together
        kind="EMNIST",
        training=({"split": "letters", "train": True},),
        test={"split": "letters", "train": False},
        levels=_emnist_levels,
        labels=lambda part: part.targets - 1,  # the files count the letters from 1
    ),
    "cifar-10": _Published(kind="CIFAR10", levels=_cifar_levels),
    "cifar-100": _Published(kind="CIFAR100", levels=_cifar_levels),
    "svhn": _Published(
        kind="SVHN",
        training=({"split": "train"},),
        test={"split": "test"},
        levels=lambda part: torch.from_numpy(part.data),
        labels=lambda part: torch.from_numpy(part.labels),
    ),
    "flowers-102": _Published(
        kind="Flowers102",
        training=({"split": "train"}, {"split": "val"}),
        test={"split": "test"},
        levels=_flowers_levels,
        labels=lambda part: torch.tensor([part[row][1] for row in range(len(part))]),
    ),
}
