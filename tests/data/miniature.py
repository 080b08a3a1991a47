"""A dozen images in the very files that each data set is published in."""

import pickle
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from arena.learning.torchvision_import import torchvision_module

MNIST_FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST", "emnist": "EMNIST"}


def write_idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())


def write_mnist_like(folder: Path, name: str, *, training: int = 60, test: int = 20, seed: int = 0) -> None:
    """IDX files as ``name`` has them; labels go round the classes, EMNIST's from 1 to 26."""
    random = np.random.default_rng(seed)
    classes, first = (26, 1) if name == "emnist" else (10, 0)
    raw = folder / MNIST_FOLDERS[name] / "raw"
    for part, published, rows in (("train", "train", training), ("t10k", "test", test)):
        prefix = f"emnist-letters-{published}" if name == "emnist" else part
        write_idx(raw / f"{prefix}-images-idx3-ubyte", random.integers(0, 256, (rows, 28, 28)))
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", np.arange(rows) % classes + first)


def write_cifar(folder: Path, name: str, monkeypatch) -> None:
    """CIFAR's pickles; torchvision opens them for their checksum alone, which a miniature cannot have."""
    kind = getattr(torchvision_module("datasets"), {"cifar-10": "CIFAR10", "cifar-100": "CIFAR100"}[name])
    for attribute in ("train_list", "test_list"):
        monkeypatch.setattr(kind, attribute, [[file, None] for file, _ in getattr(kind, attribute)])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": None})
    random, base = np.random.default_rng(1), folder / kind.base_folder
    base.mkdir()
    key, classes = ("labels", 10) if name == "cifar-10" else ("fine_labels", 100)
    for file, _ in (*kind.train_list, *kind.test_list):
        entry = {"data": random.integers(0, 256, (20, 3072), dtype=np.uint8), key: [row % classes for row in range(20)]}
        (base / file).write_bytes(pickle.dumps(entry))
    names = {kind.meta["key"]: [f"class {number}" for number in range(classes)]}
    (base / kind.meta["filename"]).write_bytes(pickle.dumps(names))


def write_svhn(folder: Path, monkeypatch) -> None:
    kind = torchvision_module("datasets").SVHN
    monkeypatch.setattr(
        kind, "split_list", {part: [url, file, None] for part, (url, file, _) in kind.split_list.items()}
    )
    random = np.random.default_rng(2)
    for file, rows in (("train_32x32.mat", 40), ("test_32x32.mat", 12)):
        labels = (np.arange(rows) % 10 + 1).reshape(-1, 1)  # SVHN writes the digit 0 as 10
        savemat(folder / file, {"X": random.integers(0, 256, (32, 32, 3, rows), dtype=np.uint8), "y": labels})


def write_flowers(folder: Path, monkeypatch, *, images: int = 40) -> None:
    kind = torchvision_module("datasets").Flowers102
    monkeypatch.setattr(kind, "_file_dict", {part: (file, None) for part, (file, _) in kind._file_dict.items()})
    base = folder / "flowers-102"
    (base / "jpg").mkdir(parents=True)
    random = np.random.default_rng(3)
    for number in range(1, images + 1):
        picture = Image.fromarray(random.integers(0, 256, (70, 90, 3), dtype=np.uint8))
        picture.save(base / "jpg" / f"image_{number:05d}.jpg")
    numbers = np.arange(1, images + 1)
    savemat(base / "setid.mat", {"trnid": numbers[:10], "valid": numbers[10:20], "tstid": numbers[20:]})
    savemat(base / "imagelabels.mat", {"labels": (numbers - 1) % 4 + 1})


def write_image_folder(folder: Path, *, mode: str = "RGB", each: int = 12) -> None:
    random = np.random.default_rng(4)
    for label in ("cats", "dogs"):
        (folder / label).mkdir(parents=True)
        for number in range(each):
            size = (40, 30, 3) if mode == "RGB" else (40, 30)
            Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(folder / label / f"{number}.png")
