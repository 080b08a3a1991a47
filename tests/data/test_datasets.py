import os
from pathlib import Path

import pytest
import torch

from arena.contracts import BadParameter, DataMissing, UnknownName
from arena.data.datasets import load
from arena.data.splits import split
from arena.learning.tensors import pack
from tests.data import miniature

REAL = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


def test_digits_keep_their_seventeen_exact_levels():
    digits = load("digits")
    assert digits.shape == (1, 8, 8)
    assert len(digits.labels) == 1797
    assert torch.equal((digits.inputs * 16).round() / 16, digits.inputs)
    assert float(digits.inputs.max()) == 1.0


@pytest.mark.parametrize(("name", "columns", "classes"), [("breast-cancer", 30, 2), ("wine", 13, 3), ("iris", 4, 3)])
def test_tables_come_from_scikit_learn(name, columns, classes):
    table = load(name)
    assert table.shape == (columns,)
    assert len(table.class_names) == classes == len(table.labels.unique())


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist", "emnist"])
def test_reads_the_idx_files_of_the_mnist_family(name, tmp_path):
    miniature.write_mnist_like(tmp_path, name)
    found = load(name, folder=tmp_path)
    assert found.stored.shape == (80, 1, 28, 28)
    assert found.stored.dtype == torch.uint8
    assert found.official_test == 20
    assert len(found.class_names) == (26 if name == "emnist" else 10)
    assert int(found.labels.min()) == 0
    assert pack(found.inputs, compact=True).dtype == "uint8"


def test_emnist_letters_are_turned_upright(tmp_path):
    miniature.write_mnist_like(tmp_path, "emnist")
    file = tmp_path / "EMNIST" / "raw" / "emnist-letters-train-images-idx3-ubyte"
    first = torch.frombuffer(bytearray(file.read_bytes()[16 : 16 + 784]), dtype=torch.uint8).reshape(28, 28)
    found = load("emnist", folder=tmp_path)
    assert torch.equal(found.stored[0, 0], first.T)
    assert found.class_names[int(found.labels[0])] == "a"


@pytest.mark.parametrize(("name", "classes"), [("cifar-10", 10), ("cifar-100", 100)])
def test_reads_the_pickles_of_cifar(name, classes, tmp_path, monkeypatch):
    miniature.write_cifar(tmp_path, name, monkeypatch)
    found = load(name, folder=tmp_path)
    assert found.shape == (3, 32, 32)
    assert found.official_test == 20
    assert len(found.class_names) == classes


def test_refuses_a_cifar_file_of_another_checksum(tmp_path):
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    (base / "data_batch_1").write_bytes(b"not what was published")
    with pytest.raises(DataMissing, match="corrupted"):
        load("cifar-10", folder=tmp_path)


def test_reads_the_matrices_of_svhn_and_its_tens_as_zeros(tmp_path, monkeypatch):
    miniature.write_svhn(tmp_path, monkeypatch)
    found = load("svhn", folder=tmp_path)
    assert found.stored.shape == (52, 3, 32, 32)
    assert found.labels[:10].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert found.official_test == 12


def test_reads_the_files_of_flowers_and_cuts_squares(tmp_path, monkeypatch):
    miniature.write_flowers(tmp_path, monkeypatch)
    found = load("flowers-102", folder=tmp_path)
    assert found.stored.shape == (40, 3, 64, 64)
    assert found.official_test == 20
    assert found.labels[:5].tolist() == [0, 1, 2, 3, 0]
    assert load("flowers-102", folder=tmp_path, side=20).shape == (3, 20, 20)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("grey", [True, False])
def test_reads_a_folder_of_images_in_colour_or_grey(mode, grey, tmp_path):
    miniature.write_image_folder(tmp_path / "pets", mode=mode)
    found = load(f"image-folder:{tmp_path}/pets", side=16, grey=grey)
    assert found.stored.shape == (24, 1 if grey else 3, 16, 16)
    assert found.class_names == ("cats", "dogs")
    assert found.name == "image-folder:pets"


def test_resizes_and_greys_on_demand(tmp_path, monkeypatch):
    miniature.write_svhn(tmp_path, monkeypatch)
    assert load("svhn", folder=tmp_path, side=8, grey=True).shape == (1, 8, 8)


def test_missing_data_say_where_was_looked_and_how_to_fetch_them(tmp_path):
    with pytest.raises(DataMissing, match="KMNIST") as caught:
        load("kmnist", folder=tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "ARENA_DATA" in str(caught.value)


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    miniature.write_mnist_like(tmp_path, "kmnist")
    monkeypatch.setenv("ARENA_DATA", str(tmp_path))
    assert len(load("kmnist").labels) == 80


def test_a_missing_image_folder_is_missing_data(tmp_path):
    with pytest.raises(DataMissing, match="nowhere"):
        load(f"image-folder:{tmp_path}/nowhere")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'mnist'"):
        load("mnits")


def test_digits_cannot_be_resized():
    with pytest.raises(BadParameter, match="side and grey"):
        load("digits", side=16)


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(REAL))
def test_real_data_split_into_the_documented_sizes(name):
    folder = Path(os.environ.get("ARENA_DATA", "")) / REAL[name]
    if "ARENA_DATA" not in os.environ or not folder.is_dir():
        pytest.skip(f"{name} is not in the folder that ARENA_DATA names")
    splits = split(load(name))
    sizes = [len(part[1]) for part in (splits.training, splits.validation, splits.honest, splits.test)]
    assert sizes == [27_000, 1_000, 2_000, 10_000]
    assert len(splits.pool) == 30_000
