"""A folder of your own pictures: its classes, what is left out of it, and what is said about it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from arena.contracts import BadParameter, DataMissing
from arena.data.dataset import Dataset
from arena.data.datasets import load
from arena.data.splits import split
from arena.learning.torchvision_import import torchvision_module

PICTURES = 12


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return written(tmp_path / "pets", "cats", "dogs")


def written(folder: Path, *classes: str) -> Path:
    random = np.random.default_rng(len(str(classes)))
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(PICTURES):
            levels = random.integers(0, 256, (10, 10), dtype=np.uint8)
            Image.fromarray(levels).save(folder / name / f"{number:03}.png")
    return folder


def read(folder: Path) -> Dataset:
    return load(f"image-folder:{folder}", side=8)


def notes(folder: Path) -> str:
    return "\n".join(split(read(folder)).notes)


def test_rows_and_labels_are_in_torchvisions_order(pets: Path):
    (pets / "cats" / "more").mkdir()
    shutil.copy(pets / "dogs" / "003.png", pets / "cats" / "more" / "1.png")
    found, reference = read(pets), torchvision_module("datasets").ImageFolder(str(pets))
    assert found.class_names == tuple(reference.classes)
    assert found.labels.tolist() == reference.targets
    assert torch.equal(found.stored[PICTURES], found.stored[PICTURES + 4])  # the copy, and dogs/003.png


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git"])
def test_hidden_folders_are_no_classes_and_hold_no_pictures(hidden: str, pets: Path):
    before = read(pets)
    for place in (pets, pets / "cats"):
        (place / hidden).mkdir()
        shutil.copy(pets / "dogs" / "003.png", place / hidden / "003.png")
    after = read(pets)
    assert after.class_names == ("cats", "dogs")
    assert torch.equal(before.stored, after.stored)


def test_hidden_files_are_no_pictures(pets: Path):
    before = read(pets)
    for name in (".DS_Store", "._000.png", ".000.png"):
        (pets / "cats" / name).write_bytes(b"\x00\x05\x16\x07")
        (pets / name).write_bytes(b"")
    after = read(pets)
    assert torch.equal(before.stored, after.stored)
    assert not after.notes


def test_pictures_of_any_format_are_read(pets: Path):
    for ending in ("gif", "PNG", "webp", "jp2", "tga"):
        Image.new("RGB", (9, 9), "red").save(pets / "dogs" / f"new.{ending}")
    assert read(pets).labels.tolist() == [0] * PICTURES + [1] * (PICTURES + 5)


def test_classes_and_their_sizes_are_said(pets: Path):
    (pets / "dogs" / "000.png").unlink()
    assert notes(pets) == "2 classes: cats 12, dogs 11"


def test_of_many_classes_the_smallest_is_said(tmp_path: Path):
    folder = written(tmp_path / "many", *(f"class{number:02}" for number in range(15)))
    (folder / "class14" / "000.png").unlink()
    assert "15 classes: class00 12, class01 12," in notes(folder)
    assert "class11 12, ...; the smallest is class14 with 11" in notes(folder)


def test_files_that_are_left_out_are_counted(pets: Path):
    for name in ("notes.txt", "a.heic", "b.HEIC", "README"):
        (pets / "cats" / name).write_text("no picture")
    assert "left out, because Pillow cannot open such files: 2 .heic, 1 README, 1 .txt" in notes(pets).splitlines()


@pytest.mark.parametrize("parts", [("train", "val"), ("Train", "test"), ("training", "validation", "test")])
def test_a_wrong_level_of_folders_is_said_with_the_right_one(parts: tuple[str, ...], tmp_path: Path):
    for part in parts:
        written(tmp_path / "set" / part, "cats", "dogs")
    said = notes(tmp_path / "set")
    first = sorted(parts)[0]
    assert f"{len(parts)} classes: " in said
    assert "usual names for parts of a data set" in said
    assert f"or give {tmp_path / 'set' / first}, whose folders are cats, dogs" in said


def test_a_class_that_vanishes_as_duplicates_is_said(pets: Path):
    (pets / "tigers").mkdir()
    shutil.copy(pets / "cats" / "000.png", pets / "tigers" / "000.png")
    said = notes(pets)
    assert "3 classes: cats 12, dogs 12, tigers 0" in said
    assert "1 of 25 rows repeat another row" in said
    assert "no row is left of tigers" in said


def test_a_damaged_picture_is_named(pets: Path):
    file = pets / "dogs" / "007.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(BadParameter, match=r"pets/dogs/007\.png cannot be read"):
        read(pets)


def test_a_folder_without_classes_or_pictures_is_refused_with_why(pets: Path, tmp_path: Path):
    with pytest.raises(DataMissing, match="there is no such folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataMissing, match="it has no folders but hidden ones"):
        read(pets / "cats")
    (pets / "birds").mkdir()
    (pets / "birds" / "a.heic").write_text("")
    with pytest.raises(DataMissing, match=r"no pictures in birds \(left out, .*: 1 \.heic\)"):
        read(pets)
    with pytest.raises(BadParameter, match="has a single class, cats"):
        read(written(tmp_path / "lonely", "cats"))


def test_a_relative_path_starts_here_or_else_in_the_data_folder(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(written(tmp_path / "here" / "pets", "ants", "bees").parent)
    assert load("image-folder:pets", folder=tmp_path, side=8).class_names == ("ants", "bees")
    monkeypatch.chdir(tmp_path / "here" / "pets")
    assert load("image-folder:pets", folder=tmp_path, side=8).class_names == ("cats", "dogs")


def test_published_data_sets_have_no_notes():
    assert split(load("digits")).notes == ()
