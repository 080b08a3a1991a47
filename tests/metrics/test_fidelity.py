import pytest
import torch

from arena.metrics.fidelity import agreement, cohen_kappa, confusion_counts, labels_of, majority_share, total_variation


def test_confusions_are_counted_by_row_and_column():
    rows, columns = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 0, 2, 2])
    assert confusion_counts(rows, columns, classes=3) == (1, 1, 0, 0, 1, 0, 1, 0, 2)


def test_a_tie_goes_to_the_lowest_index():
    rows = torch.tensor([[0.2, 0.4, 0.4], [0.5, 0.0, 0.5], [1 / 3, 1 / 3, 1 / 3], [0.1, 0.1, 0.8]])
    assert labels_of(rows).tolist() == [1, 0, 0, 2]


def test_a_refused_row_of_zeros_has_label_zero():
    assert labels_of(torch.zeros(2, 4)).tolist() == [0, 0]


def test_labels_of_no_rows_are_no_labels():
    assert labels_of(torch.empty(0, 3)).shape == (0,)


def test_agreement_counts_in_integers():
    assert agreement(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 2])) == (3, 4)


def test_total_variation_is_half_the_l1_distance():
    distance = total_variation(torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.5, 0.3, 0.2]]))
    assert distance.dtype == torch.float64
    assert distance.tolist() == pytest.approx([0.2])


def test_kappa_of_a_table_worked_out_by_hand():
    # [[50, 10], [5, 35]]: observed .85, by chance .51
    first = torch.tensor([0] * 60 + [1] * 40)
    second = torch.tensor([0] * 50 + [1] * 10 + [0] * 5 + [1] * 35)
    assert cohen_kappa(first, second, classes=2) == pytest.approx((0.85 - 0.51) / (1 - 0.51))
    assert cohen_kappa(first, second, classes=2) == pytest.approx(0.693878, abs=1e-6)


def test_a_constant_predictor_agrees_by_chance_alone():
    victim = torch.tensor([0] * 96 + [1] * 4)
    assert agreement(victim, torch.zeros_like(victim)) == (96, 100)
    assert cohen_kappa(victim, torch.zeros_like(victim), classes=2) == 0
    assert majority_share(victim) == 0.96


def test_two_constants_on_one_class_have_kappa_zero_and_a_share_that_gives_it_away():
    constant = torch.full((10,), 3)
    assert cohen_kappa(constant, constant, classes=4) == 0
    assert majority_share(constant) == 1
