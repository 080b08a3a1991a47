import pytest
import torch

from arena.data.glyphs import CHARACTERS, FONTS, _atlas, glyphs
from arena.learning.randomness import generator
from arena.learning.tensors import pack


def test_the_parts_share_neither_a_font_nor_a_character():
    assert not set(FONTS["pool"]) & set(FONTS["outliers"])
    assert not set(CHARACTERS["pool"]) & set(CHARACTERS["outliers"])


def test_no_character_is_a_digit_or_looks_like_one():
    assert not set("0123456789OoIl|") & set(CHARACTERS["pool"] + CHARACTERS["outliers"])


@pytest.mark.parametrize("part", ["pool", "outliers"])
def test_every_character_of_a_font_is_drawn_and_differs_from_the_others(part):
    atlas = _atlas(part)
    of_one_font = atlas[: len(CHARACTERS[part])].flatten(1)
    assert len(of_one_font.unique(dim=0)) == len(CHARACTERS[part])
    assert bool((atlas.flatten(1).amax(dim=1) > 100).all())


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 20, 64)])
def test_has_the_victims_shape_in_whole_grey_levels(shape):
    rows = glyphs(40, shape, part="pool", rng=generator(0))
    assert rows.shape == (40, *shape)
    assert pack(rows, compact=True).dtype == "uint8"
    assert torch.equal(rows, glyphs(40, shape, part="pool", rng=generator(0)))


def test_grey_glyphs_lie_on_black_and_nothing_is_lost_at_the_border():
    rows = glyphs(200, (1, 28, 28), part="outliers", rng=generator(1))
    assert float(rows.median()) == 0.0
    assert bool((rows.flatten(1).amax(dim=1) > 0.4).all())
