import dataclasses

import pytest
import torch

from arena.contracts import BadParameter
from arena.data.dataset import Dataset
from arena.data.datasets import load
from arena.data.splits import split
from arena.learning.tensors import digest_of, row_digests


def parts(splits):
    return {
        "training": splits.training[0],
        "validation": splits.validation[0],
        "honest": splits.honest[0],
        "pool": splits.pool,
        "test": splits.test[0],
    }


def toy(rows=120, *, official_test=0, copies=0):
    stored = torch.randint(256, (rows, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    if copies:
        stored[:copies] = stored[-copies:]
    labels = torch.arange(rows) % 3
    return Dataset(name="toy", stored=stored, labels=labels, class_names=("a", "b", "c"), official_test=official_test)


def test_digits_have_the_documented_sizes():
    sizes = {part: len(rows) for part, rows in parts(split(load("digits"))).items()}
    assert sizes == {"training": 497, "validation": 100, "honest": 400, "pool": 400, "test": 400}


@pytest.mark.parametrize("name", ["digits", "breast-cancer", "wine", "iris"])
def test_no_row_is_in_two_splits(name):
    digests = [set(row_digests(rows)) for rows in parts(split(load(name))).values()]
    assert len(set.union(*digests)) == sum(map(len, digests))


def test_copies_are_kept_once_and_the_official_test_keeps_its_own():
    splits = split(toy(official_test=20, copies=10))
    assert len(splits.test[1]) == 20
    assert len(splits.kept_from_attackers | set(row_digests(splits.pool))) == 110


def test_the_official_test_is_the_test():
    data = toy(official_test=20)
    official = set(row_digests(data.rows(torch.arange(100, 120))))
    assert set(row_digests(split(data).test[0])) == official


def test_labels_stay_with_their_rows():
    data = toy()
    label_of = dict(zip(row_digests(data.inputs), data.labels.tolist(), strict=True))
    inputs, labels = split(data).training
    assert [label_of[digest] for digest in row_digests(inputs)] == labels.tolist()


def test_splits_are_the_same_every_time_and_differ_by_name():
    first, again = split(toy()), split(toy())
    other = split(dataclasses.replace(toy(), name="another"))
    assert digest_of(parts(first).values()) == digest_of(parts(again).values())
    assert digest_of([first.test[0]]) != digest_of([other.test[0]])


def test_fewer_training_rows_leave_the_other_splits_alone():
    full, small = split(toy()), split(toy(), training=5)
    assert torch.equal(full.training[0][:5], small.training[0])
    assert torch.equal(full.pool, small.pool)


def test_more_rows_than_there_are_is_a_bad_parameter_that_counts_them():
    with pytest.raises(BadParameter, match="there are 120"):
        split(toy(), training=119)


def test_an_empty_split_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="at least one row"):
        split(toy(), honest=0)


def test_table_columns_are_scaled_by_the_training_rows_and_clipped():
    splits = split(load("wine"))
    assert torch.equal(splits.training[0].amin(dim=0), torch.zeros(13))
    assert torch.equal(splits.training[0].amax(dim=0), torch.ones(13))
    assert 0 <= float(splits.test[0].min()) <= float(splits.test[0].max()) <= 1


def test_the_task_names_neither_data_set_nor_classes():
    task = split(load("digits")).task
    assert (task.shape, task.classes, task.class_names) == ((1, 8, 8), 10, ())
