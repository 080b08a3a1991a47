import math

import pytest
import torch

from arena.metrics.attribution import drops, map_agreement, paired_drops, top_pixels


def test_the_drop_by_hand():
    """.8 becomes .2: .75 of it is lost; .5 becomes .6: a gain of a fifth, which clipped counts as nothing."""
    inputs = torch.ones(2, 1, 2, 2)
    answers = iter([torch.tensor([[0.8, 0.2], [0.5, 0.5]]), torch.tensor([[0.2, 0.8], [0.6, 0.4]])])
    found = drops(lambda rows: next(answers), inputs, torch.rand(2, 2, 2), torch.tensor([0, 0]))
    assert torch.allclose(found, torch.tensor([0.75, -0.2]).double())
    assert float(found.mean()) == pytest.approx(0.275)
    answers = iter([torch.tensor([[0.8, 0.2], [0.5, 0.5]]), torch.tensor([[0.2, 0.8], [0.6, 0.4]])])
    clipped = drops(lambda rows: next(answers), inputs, torch.rand(2, 2, 2), torch.tensor([0, 0]), clip=True)
    assert float(clipped.mean()) == pytest.approx(0.375)


def test_only_the_top_pixels_are_left_and_the_others_masked():
    seen = []

    def score(rows):
        seen.append(rows)
        return torch.full((len(rows), 2), 0.5)

    maps = torch.tensor([[[0.1, 0.9], [0.5, 0.2]]])
    drops(score, torch.ones(1, 2, 2, 2), maps, torch.tensor([0]), percent=50, mask_value=0.25)
    assert torch.equal(seen[1], torch.tensor([[[0.25, 1.0], [1.0, 0.25]]]).expand(1, 2, 2, 2))


@pytest.mark.parametrize(("percent", "kept"), [(1, 1), (50, 5), (51, 5), (100, 9)])
def test_exactly_so_many_pixels_are_kept_and_ties_go_to_the_lowest(percent, kept):
    mask = top_pixels(torch.zeros(2, 3, 3), (3, 3), percent=percent)
    assert mask.flatten(1).sum(dim=1).tolist() == [kept, kept]
    assert mask.flatten(1)[:, :kept].all()


def test_a_small_map_is_brought_to_the_size_of_the_image():
    mask = top_pixels(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), (4, 4), percent=25)
    assert int(mask.sum()) == 4
    assert mask[0, :2, :2].all()


def test_equal_drops_are_shown_equal_and_different_ones_different():
    rng = torch.Generator().manual_seed(0)
    first = torch.rand(200, generator=rng)
    same = paired_drops(first, first + 0.001 * torch.randn(200, generator=rng), rng=rng)
    assert same.equivalent < 0.001
    assert same.low < 0 < same.high or abs(same.difference) < 0.001
    other = paired_drops(first + 0.2, first + 0.05 * torch.randn(200, generator=rng), rng=rng)
    assert other.equivalent > 0.99
    assert other.different < 0.001
    assert other.low < other.difference < other.high
    assert other.difference == pytest.approx(0.2, abs=0.02)


def test_few_noisy_images_prove_nothing_either_way():
    rng = torch.Generator().manual_seed(1)
    found = paired_drops(torch.rand(8, generator=rng), torch.rand(8, generator=rng), rng=rng)
    assert found.equivalent > 0.05
    assert found.different > 0.05


def test_identical_drops_have_no_spread_to_test_by():
    found = paired_drops(torch.ones(5), torch.ones(5), rng=torch.Generator().manual_seed(0))
    assert (found.difference, found.equivalent, found.different) == (0.0, 0.0, 1.0)


def test_maps_that_order_the_pixels_alike_agree():
    maps = torch.rand(4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert map_agreement(maps, maps.square()) == (pytest.approx(1.0), 1.0)
    correlation, overlap = map_agreement(maps, -maps)
    assert correlation == pytest.approx(-1.0)
    assert overlap == 0.0
    assert math.isnan(map_agreement(maps, torch.zeros_like(maps))[0])
