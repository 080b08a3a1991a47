import pytest
import torch

from arena.learning.release import MARGIN, decimals, entropy, keep_argmax, looks_one_hot


def test_rows_that_keep_their_argmax_are_not_touched():
    rows = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    assert torch.equal(keep_argmax(rows, rows), rows.double())


def test_a_lost_argmax_comes_back_by_the_margin_and_the_row_stays_on_the_simplex():
    random = torch.Generator().manual_seed(0)
    rows, clean = (torch.randn(200, 6, generator=random).softmax(dim=1) for _ in range(2))
    kept = keep_argmax(rows, clean).float()
    best = clean.argmax(dim=1, keepdim=True)
    gap = kept.gather(1, best) - kept.scatter(1, best, -1.0).amax(dim=1, keepdim=True)
    assert float(gap.min()) >= 2e-6
    assert torch.allclose(kept.sum(dim=1), torch.ones(200))
    assert float(kept.min()) >= 0


def test_the_least_weight_levels_the_row_up_to_the_margin():
    kept = keep_argmax(torch.tensor([[0.2, 0.7, 0.1]]), torch.tensor([[0.5, 0.3, 0.2]]))
    weight = (MARGIN + 0.5) / 1.5
    assert torch.allclose(
        kept, torch.tensor([[0.2, 0.7, 0.1]]).double() * (1 - weight) + torch.tensor([[weight, 0, 0]])
    )


def test_a_one_hot_row_of_another_class_is_halved():
    kept = keep_argmax(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]]))
    assert torch.allclose(kept, torch.tensor([[0.5, 0.5]], dtype=torch.float64), atol=1e-5)


def test_decimals_are_told_from_enough_entries_alone():
    rows = torch.randn(50, 5, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    assert decimals(rows) is None
    assert decimals(rows.round(decimals=2)) == 2
    assert decimals(rows.round(decimals=2)[:2]) is None
    assert decimals(torch.eye(5)) is None


def test_confident_rows_are_not_one_hot():
    assert looks_one_hot(torch.eye(5))
    assert not looks_one_hot(torch.tensor([[0.999, 0.001]]))
    assert not looks_one_hot(torch.empty(0, 5))


def test_the_entropy_of_a_label_is_zero_and_of_k_equal_parts_ln_k():
    assert torch.equal(entropy(torch.tensor([[1.0, 0.0]])), torch.tensor([0.0]))
    assert float(entropy(torch.full((1, 4), 0.25))) == pytest.approx(1.3863, abs=1e-4)
