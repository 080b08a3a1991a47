import pytest
import torch

from arena.contracts import BadParameter
from arena.data.datasets import load
from arena.data.pools import default_source, mixed_columns, outlier_source, outliers, pool, sources
from arena.data.splits import split
from arena.learning.randomness import generator
from arena.learning.tensors import pack, row_digests
from tests.data import miniature

KINDS = ("same", "near", "far", "universe", "none")


@pytest.fixture(scope="module")
def digits():
    return split(load("digits"))


@pytest.fixture(scope="module")
def iris():
    return split(load("iris"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("victim", ["digits", "iris"])
def test_a_pool_is_distinct_and_never_meets_what_is_kept_from_attackers(kind, victim, request):
    splits = request.getfixturevalue(victim)
    rows = pool(kind, splits=splits, seed=3, rows=None if kind == "none" else 30)
    digests = row_digests(rows)
    assert len(set(digests)) == len(digests) == (0 if kind == "none" else 30)
    assert not splits.kept_from_attackers & set(digests)
    assert tuple(rows.shape[1:]) == splits.task.shape
    assert rows.dtype == torch.float32


@pytest.mark.parametrize("kind", ["same", "near", "far", "universe"])
def test_the_seed_decides_the_pool(kind, digits):
    first, again, other = (pool(kind, splits=digits, seed=seed, rows=20) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_same_pool_is_the_held_out_split(digits):
    assert set(row_digests(pool("same", splits=digits, seed=0))) == set(row_digests(digits.pool))


def test_a_universe_has_equal_shares(digits):
    rows = pool("universe", splits=digits, seed=0, rows=90)
    own = set(row_digests(digits.pool))
    assert sum(digest in own for digest in row_digests(rows)) == 30


@pytest.mark.parametrize("kind", ["near", "far"])
def test_outliers_meet_no_row_of_the_pool(kind, iris, digits):
    for splits in (iris, digits):
        asked = pool(kind, splits=splits, seed=0, rows=300)
        trained = outliers(kind, splits=splits, seed=0, pool_rows=asked, rows=300)
        assert not set(row_digests(asked)) & set(row_digests(trained))


def test_outliers_of_kind_pool_are_the_attackers_own_rows(digits):
    asked = pool("near", splits=digits, seed=0, rows=50)
    assert torch.equal(outliers("pool", splits=digits, seed=0, pool_rows=asked, rows=20), asked[:20])
    assert outliers("none", splits=digits, seed=0, pool_rows=asked) is None


def test_another_data_set_is_put_into_the_victims_shape(digits, tmp_path):
    miniature.write_mnist_like(tmp_path, "kmnist")
    asked = pool("far", "kmnist", splits=digits, seed=0, folder=tmp_path)
    trained = outliers("far", splits=digits, seed=0, source="kmnist", folder=tmp_path, pool_rows=asked)
    assert asked.shape == trained.shape == (40, 1, 8, 8)
    assert not set(row_digests(asked)) & set(row_digests(trained))
    assert pack(asked, compact=True).dtype == "uint8"


def test_a_source_with_the_victims_own_rows_gives_none_that_are_kept_from_attackers(tmp_path):
    miniature.write_mnist_like(tmp_path, "mnist", seed=1)
    miniature.write_mnist_like(tmp_path, "kmnist", seed=1)  # the same images under another name
    splits = split(load("mnist", folder=tmp_path))
    rows = row_digests(pool("far", "kmnist", splits=splits, seed=0, folder=tmp_path))
    assert rows
    assert set(rows) <= set(row_digests(splits.pool))


def test_colour_victims_get_colour_pools(tmp_path, monkeypatch):
    miniature.write_svhn(tmp_path, monkeypatch)
    miniature.write_mnist_like(tmp_path, "mnist")
    splits = split(load("svhn", folder=tmp_path))
    assert pool("near", splits=splits, seed=0, rows=10).shape == (10, 3, 32, 32)
    assert pool("far", "mnist", splits=splits, seed=0, folder=tmp_path).shape == (40, 3, 32, 32)


def test_default_sources():
    assert default_source("digits", "near") == "glyphs"
    assert default_source("digits", "far") == "textures"
    assert default_source("fashion-mnist", "far") == "mnist"
    assert default_source("iris", "near", table=True) == "columns"
    assert default_source("iris", "same", table=True) == ""


@pytest.mark.parametrize("kind", ["near", "far"])
@pytest.mark.parametrize("pool_kind", ["same", "near", "far", "universe", "none"])
def test_outliers_come_by_default_from_a_source_that_the_pool_lacks_or_are_refused(digits, kind, pool_kind):
    taken = sources(pool_kind, splits=digits)
    if kind == "near" and pool_kind in ("near", "universe"):
        with pytest.raises(BadParameter, match="come from glyphs, and the pool"):
            outlier_source(kind, splits=digits, pool_kind=pool_kind)
    else:
        assert outlier_source(kind, splits=digits, pool_kind=pool_kind) not in taken


def test_outliers_of_a_far_pool_are_noise_and_of_a_table_with_a_noisy_pool_refused(digits, iris):
    assert outlier_source("far", splits=digits, pool_kind="far") == "noise"
    assert outlier_source("far", splits=digits, pool_kind="far", pool_source="noise") == "textures"
    assert outlier_source("far", "textures", splits=digits, pool_kind="far") == "textures"
    with pytest.raises(BadParameter, match='outliers = "none"'):
        outlier_source("far", splits=iris, pool_kind="far")


def test_a_source_for_outliers_that_have_none_is_a_bad_parameter(digits):
    with pytest.raises(BadParameter, match="outlier_source = 'noise' was given"):
        outlier_source("pool", "noise", splits=digits, pool_kind="same")


def test_mixed_columns_keep_each_columns_values():
    own = torch.tensor([[0.1, 0.9], [0.2, 0.8]])
    mixed = mixed_columns(own, 50, rng=generator(0))
    assert set(mixed[:, 0].tolist()) == set(own[:, 0].tolist())
    assert len(mixed.unique(dim=0)) == 4


def test_glyphs_of_a_table_are_a_bad_parameter(iris):
    with pytest.raises(BadParameter, match="use columns or noise"):
        pool("near", "glyphs", splits=iris, seed=0)


def test_the_victims_own_data_are_not_far(digits):
    with pytest.raises(BadParameter, match="kind same"):
        pool("far", "digits", splits=digits, seed=0)


def test_a_source_for_a_kind_that_has_none_is_a_bad_parameter(digits):
    with pytest.raises(BadParameter, match="no source to choose"):
        pool("same", "glyphs", splits=digits, seed=0)


def test_more_rows_than_the_pool_has_is_a_bad_parameter(digits):
    for rows in (401, -1):
        with pytest.raises(BadParameter, match=f"has 400 rows, not {rows}"):
            pool("same", splits=digits, seed=0, rows=rows)
