import pytest
import torch

from arena.data.textures import FAMILIES, noise, textures
from arena.learning.randomness import generator
from arena.learning.tensors import pack


def test_the_parts_share_no_family():
    assert not set(FAMILIES["pool"]) & set(FAMILIES["outliers"])


@pytest.mark.parametrize("part", ["pool", "outliers"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 20)])
def test_has_the_victims_shape_in_whole_grey_levels(part, shape):
    rows = textures(41, shape, part=part, rng=generator(0))
    assert rows.shape == (41, *shape)
    assert pack(rows, compact=True).dtype == "uint8"
    assert torch.equal(rows, textures(41, shape, part=part, rng=generator(0)))


@pytest.mark.parametrize("family", [draw for part in FAMILIES.values() for draw in part])
def test_a_family_draws_between_black_and_white(family):
    drawn = family(30, 28, 28, generator(0))
    assert drawn.shape == (30, 28, 28)
    assert 0 <= float(drawn.min()) < float(drawn.max()) <= 1


def test_noise_reaches_every_level():
    assert len(noise(100, (1, 28, 28), rng=generator(0)).unique()) == 256
