import math

import pytest
import torch

from arena.attacks.collage import Collage, diversity, evenly_uncertain, windows
from arena.contracts import BadParameter
from arena.learning.tensors import row_digests
from tests.attacks.toy import IMAGES, TABLE, VICTIMS, ToyOracle, context, play

FEW = {"steps": 5, "steps_inner": 5, "candidates": 60}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_whole_window_that_is_not_turned_shows_the_image_as_it_is(monkeypatch):
    monkeypatch.setattr(math, "pi", 0.0)
    images = torch.rand(3, 2, 8, 8, generator=rng())
    assert torch.allclose(windows(images, zoom=(1.0, 1.0), shift=0.0, rng=rng()), images, atol=1e-6)


def test_a_window_of_half_a_side_enlarges_the_middle(monkeypatch):
    monkeypatch.setattr(math, "pi", 0.0)
    image = torch.zeros(1, 1, 8, 8)
    image[..., 2:6, 2:6] = 1.0
    seen = windows(image, zoom=(0.5, 0.5), shift=0.0, rng=rng())
    assert bool((seen[..., 1:7, 1:7] == 1).all())


def test_beyond_the_edges_it_is_black():
    seen = windows(torch.ones(50, 1, 8, 8), zoom=(1.0, 1.0), shift=1.0, rng=rng())
    assert float(seen.min()) == 0.0
    assert float(seen.max()) <= 1.0


def test_diversity_is_the_entropy_of_the_mean_answer():
    assert diversity(torch.tensor([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(math.log(2))
    assert diversity(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])) == 0.0  # a refused row is no answer
    assert diversity(torch.zeros(2, 3)) == 0.0
    assert diversity(torch.zeros(0, 3)) == 0.0


def test_each_class_gets_what_it_lacks_least_certain_first():
    posteriors = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.45, 0.55], [0.7, 0.3]])
    # 6 and 2 rows and 4 to come: 6 are an even part, so class 1 lacks all 4, and has but two candidates
    assert evenly_uncertain(posteriors, torch.tensor([6.0, 2.0]), 4).tolist() == [3, 2, 1, 4]
    assert evenly_uncertain(posteriors, torch.tensor([0.0, 0.0]), 2).tolist() == [3, 1]
    assert evenly_uncertain(posteriors, torch.tensor([1.0, 1.0]), 5).tolist() == [3, 1, 4, 2, 0]


@pytest.mark.parametrize("task", [IMAGES, TABLE], ids=["images", "table"])
def test_where_plain_rows_show_more_the_rest_are_plain(task):
    pool = set(row_digests(context(task).pool))
    half = context(task).pool.flatten(1).mean(dim=1).median()

    def prefers_plain(inputs):  # every other plain row of another class, collages all of one
        rows = torch.zeros(len(inputs), task.classes)
        plain = torch.tensor([digest in pool for digest in row_digests(inputs)])
        rows[torch.arange(len(rows)), (plain & (inputs.flatten(1).mean(dim=1) > half)).long()] = 1.0
        return rows

    oracle = ToyOracle(prefers_plain, 100, task)
    play(Collage(**FEW), oracle)
    asked = [digest in pool for digest in oracle.digests]
    assert sum(asked[:20]) == 10
    assert all(asked[20:])


def test_where_collages_show_more_the_rest_are_collages():
    pool = set(row_digests(context(IMAGES).pool))

    def prefers_collages(inputs):
        rows = torch.zeros(len(inputs), IMAGES.classes)
        plain = torch.tensor([digest in pool for digest in row_digests(inputs)])
        rows[torch.arange(len(rows)), torch.where(plain, 0, torch.arange(len(rows)) % 4)] = 1.0
        return rows

    oracle = ToyOracle(prefers_collages, 100, IMAGES)
    play(Collage(**FEW), oracle)
    assert not any(digest in pool for digest in oracle.digests[20:])


def test_a_near_pool_that_runs_out_is_followed_by_collages():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 90, IMAGES)
    play(Collage(**FEW), oracle, rows=30)
    assert oracle.remaining == 0
    assert len(set(oracle.digests)) == 90


def test_a_pool_of_one_flat_picture_is_followed_by_noise():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 60, IMAGES)
    flat = context(IMAGES, rows=1)
    flat.pool.zero_()
    Collage(**FEW).extract(oracle, flat, rng=rng())
    assert oracle.remaining == 0
    assert len(set(oracle.digests)) == 60


@pytest.mark.parametrize("wrong", [{"layers": 0}, {"zoom": (0.0, 1.0)}, {"zoom": (1.0, 0.5)}, {"dim": 1.5}])
def test_what_cannot_be_is_a_bad_parameter(wrong):
    with pytest.raises(BadParameter):
        Collage(**wrong)
