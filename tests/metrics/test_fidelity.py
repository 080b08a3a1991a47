from __future__ import annotations

import pytest
import torch

from arena.metrics.fidelity import agreement, cohen_kappa, labels_of, largest_share, total_variation


def test_labels_are_the_lowest_index_of_the_largest():
    assert labels_of(torch.tensor([[0.1, 0.9], [0.5, 0.5], [0.0, 0.0]])).tolist() == [1, 0, 0]


def test_agreement_is_counted_in_integers():
    assert agreement(torch.tensor([1, 2, 3]), torch.tensor([1, 0, 3])) == (2, 3)


def test_total_variation_is_half_the_l1_distance():
    first, second = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]]), torch.tensor([[0.3, 0.5, 0.2], [0.0, 0.0, 1.0]])
    assert total_variation(first, second).tolist() == pytest.approx([0.2, 1.0])


def test_the_largest_share_is_that_of_the_most_frequent_label():
    assert largest_share(torch.tensor([0, 0, 0, 1])) == 0.75
    assert largest_share(torch.tensor([], dtype=torch.int64)) == 0.0


def pairs(table: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    cells = [(row, column) for row, counts in enumerate(table) for column, n in enumerate(counts) for _ in range(n)]
    first, second = torch.tensor(cells).T
    return first, second


def test_kappa_of_a_table_worked_out_by_hand():
    # p_o = 85/100; rows 60, 40 and columns 55, 45: p_e = (60 * 55 + 40 * 45) / 100^2 = 0.51; 0.34 / 0.49
    assert cohen_kappa(*pairs([[50, 10], [5, 35]]), classes=2) == pytest.approx(0.693878, abs=1e-6)


def test_kappa_is_nothing_where_chance_explains_everything():
    assert cohen_kappa(*pairs([[9, 0], [0, 0]]), classes=2) == 0.0
    assert cohen_kappa(*pairs([[25, 25], [25, 25]]), classes=2) == 0.0
    assert cohen_kappa(*pairs([[5, 0], [0, 5]]), classes=2) == 1.0
    assert cohen_kappa(*pairs([[0, 5], [5, 0]]), classes=2) == -1.0
