import pytest
import torch

from arena.contracts import BadParameter
from arena.defenses.parts.calibration import folds, lowest_share


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("share", "threshold"), [(0.0, 0.2), (0.2, 0.2), (0.4, 0.4), (0.6, 0.6), (0.79, 0.6)])
def test_the_threshold_is_an_order_statistic_of_the_benign_rows(share, threshold):
    # of 4 rows: a new one is below the k-th lowest with a probability of k / 5
    assert lowest_share(torch.tensor([0.8, 0.2, 0.6, 0.4]), share=share) == pytest.approx(threshold)


def test_a_share_that_floats_hold_badly_is_counted_right():
    assert lowest_share(torch.arange(99.0), share=0.29) == 28.0


@pytest.mark.parametrize(
    ("rows", "share", "expected"), [(100, 0.01, 1 / 101), (100, 0.05, 5 / 101), (20, 0.01, 1 / 21)]
)
def test_a_new_benign_row_is_below_it_as_often_as_the_share_says(rows, share, expected):
    """For uniform values the threshold is the probability itself."""
    thresholds = [lowest_share(torch.rand(rows, generator=rng(seed)), share=share) for seed in range(4_000)]
    assert sum(thresholds) / len(thresholds) == pytest.approx(expected, rel=0.05)


def test_without_benign_rows_there_is_no_threshold():
    with pytest.raises(BadParameter, match="no benign rows"):
        lowest_share(torch.empty(0), share=0.1)


def test_every_row_is_held_once_and_never_learnt_from_where_it_is_held():
    found = list(folds(23, 5, rng=rng()))
    assert len(found) == 5
    assert sorted(torch.cat([fold.held for fold in found]).tolist()) == list(range(23))
    for fold in found:
        assert sorted(torch.cat([fold.learnt, fold.held]).tolist()) == list(range(23))
        assert len(fold.learnt) >= 18


def test_too_few_rows_make_no_folds():
    assert list(folds(1, 5, rng=rng())) == []
    assert len(list(folds(3, 5, rng=rng()))) == 3
