import pytest
import torch

from arena.learning.randomness import generator
from arena.metrics.knowledge import frechet_distance, two_sample_accuracy


def normal(rows: int, columns: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=generator(seed, "features"))


def test_tells_far_features_apart():
    hits, total = two_sample_accuracy(normal(60, 4, 0), normal(60, 4, 1) + 5)
    assert total == 120
    assert hits >= 118


def test_cannot_tell_equal_distributions_apart():
    hits, total = two_sample_accuracy(normal(200, 4, 0), normal(200, 4, 1))
    assert 0.4 < hits / total < 0.6


def test_uses_as_many_rows_of_the_larger_side_as_the_smaller_has():
    assert two_sample_accuracy(normal(50, 3, 0), normal(500, 3, 1))[1] == 100


def test_frechet_distance_worked_out_by_hand():
    # N(0, 1) and N(3, 4): 9 + 1 + 4 - 2 * 2 = 10; standardised samples have these moments exactly.
    standard = normal(1_000, 1, 0).double()
    standard = (standard - standard.mean()) / standard.std()
    assert frechet_distance(standard, 3 + 2 * standard) == pytest.approx(10, abs=1e-4)


def test_frechet_distance_of_correlated_features_is_that_of_their_rotation():
    features = normal(500, 3, 0) @ normal(3, 3, 1)
    rotation = torch.linalg.qr(normal(3, 3, 2).double()).Q
    other = normal(500, 3, 3).double()
    direct = frechet_distance(features.double(), other)
    assert frechet_distance(features.double() @ rotation, other @ rotation) == pytest.approx(direct)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
