from __future__ import annotations

import pytest
import torch

from arena.metrics.knowledge import frechet_distance, two_sample_accuracy


def normal(rows: int, *, seed: int, mean: float = 0.0) -> torch.Tensor:
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed)) + mean


def test_sets_that_are_apart_are_told_apart():
    assert two_sample_accuracy(normal(50, seed=0), normal(60, seed=1, mean=9)) == (100, 100)


def test_sets_that_are_alike_are_a_coin_flip():
    hits, total = two_sample_accuracy(normal(200, seed=0), normal(200, seed=1))
    assert 0.4 < hits / total < 0.6


def test_the_distance_of_equal_covariances_is_that_of_the_means():
    rows = normal(100, seed=0)
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(rows, rows + torch.tensor([3.0, 4.0, 0.0])) == pytest.approx(25, abs=1e-4)


def test_a_stretched_set_is_as_far_as_its_spread():
    rows = normal(500, seed=0)
    spread = float(rows.double().var(dim=0).sum())
    assert frechet_distance(rows, 2 * (rows - rows.mean(dim=0)) + rows.mean(dim=0)) == pytest.approx(spread, rel=1e-4)
