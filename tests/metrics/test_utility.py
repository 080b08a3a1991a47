import pytest
import torch

from arena.contracts import Promise
from arena.metrics.utility import brier_score, calibration_error, count_broken_promises, utility

CLEAN = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
LABELS = torch.tensor([0, 1, 0])
NONE_REFUSED = torch.zeros(3, dtype=torch.bool)


def test_an_undefended_oracle_costs_nothing():
    got = utility(released=CLEAN, refused=NONE_REFUSED, clean=CLEAN, labels=LABELS)
    assert got.counts["utility/kept"] == (3, 3)
    assert got.counts["utility/accuracy"] == got.counts["utility/clean_accuracy"] == (2, 3)
    assert got.counts["utility/changed"] == (0, 3)
    assert got.measures["utility/l1"] == got.measures["utility/brier_cost"] == 0


def test_a_refused_row_is_a_wrong_decision_and_no_probability():
    refused = torch.tensor([True, False, False])
    released = CLEAN * ~refused.unsqueeze(1)
    got = utility(released=released, refused=refused, clean=CLEAN, labels=LABELS)
    assert got.counts["utility/kept"] == (2, 3)
    assert got.counts["utility/accuracy"] == (1, 3)
    assert got.counts["utility/refused"] == (1, 3)
    assert got.counts["utility/changed"] == (0, 2)
    assert got.measures["utility/l1"] == 0


def test_a_refused_row_that_would_have_been_class_zero_is_still_wrong():
    refused = torch.ones(3, dtype=torch.bool)
    got = utility(released=torch.zeros(3, 3), refused=refused, clean=CLEAN, labels=LABELS)
    assert got.counts["utility/kept"] == got.counts["utility/accuracy"] == (0, 3)
    assert got.measures == {}


def test_labels_alone_shift_probabilities_but_no_decision():
    released = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    got = utility(released=released, refused=NONE_REFUSED, clean=CLEAN, labels=LABELS)
    assert got.counts["utility/kept"] == (3, 3)
    assert got.counts["utility/one_hot"] == got.counts["utility/changed"] == (3, 3)
    assert got.measures["utility/l1"] == pytest.approx((0.6 + 0.4 + 1.2) / 3)
    assert got.measures["utility/l1_max"] == pytest.approx(1.2)


def test_calibration_error_worked_out_by_hand():
    # Half of the rows in a bin with confidence .95 and accuracy .5, half with .65 and 1.
    posteriors = torch.tensor([[0.95, 0.05], [0.95, 0.05], [0.65, 0.35], [0.65, 0.35]], dtype=torch.float64)
    assert calibration_error(posteriors, torch.tensor([0, 1, 0, 0]), bins=10) == pytest.approx(0.5 * 0.45 + 0.5 * 0.35)


def test_certainty_falls_into_the_last_bin():
    assert calibration_error(torch.tensor([[1.0, 0.0]]), torch.tensor([0])) == 0
    assert calibration_error(torch.tensor([[1.0, 0.0]]), torch.tensor([1])) == 1


def test_brier_score_worked_out_by_hand():
    assert brier_score(torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([0])) == pytest.approx(0.09 + 0.04 + 0.01)


def test_the_log_loss_of_certain_error_is_finite():
    released = torch.tensor([[1.0, 0, 0]])
    got = utility(released=released, refused=torch.tensor([False]), clean=released, labels=torch.tensor([1]))
    assert got.measures["utility/log_loss"] == pytest.approx(27.631, abs=1e-3)  # -log 1e-12


def broken(promise: Promise, released: torch.Tensor, *, decimals: int | None = None) -> dict[str, tuple[int, int]]:
    return count_broken_promises(
        promise,
        clean=CLEAN[: len(released)],
        released=released,
        refused=NONE_REFUSED[: len(released)],
        decimals=decimals,
    )


def test_nothing_promised_is_nothing_counted():
    assert broken(Promise(), CLEAN.flip(1)) == {}


def test_counts_rows_whose_argmax_moved():
    assert broken(Promise(argmax=True), CLEAN.flip(1)) == {"promise/argmax_broken": (2, 3)}


def test_a_tie_that_moves_the_decision_breaks_the_promise_unless_rounding_made_it():
    tied = torch.tensor([[0.4, 0.4, 0.2], [0.5, 0.5, 0.0]])
    assert broken(Promise(argmax=True), tied) == {"promise/argmax_broken": (1, 2)}
    assert broken(Promise(argmax=True), tied, decimals=1) == {"promise/argmax_broken": (0, 2)}


def test_a_bound_on_l1_holds_up_to_rounding():
    released = torch.tensor([[0.65, 0.25, 0.10]])  # L1 0.1
    assert broken(Promise(l1=0.1), released) == {"promise/l1_broken": (0, 1)}
    assert broken(Promise(l1=0.09), released) == {"promise/l1_broken": (1, 1)}
    assert broken(Promise(l1=0.09), released, decimals=2) == {"promise/l1_broken": (0, 1)}


def test_a_refused_row_breaks_no_promise():
    counts = count_broken_promises(
        Promise(argmax=True, l1=0.0),
        clean=CLEAN,
        released=torch.zeros(3, 3),
        refused=torch.ones(3, dtype=torch.bool),
        decimals=None,
    )
    assert counts == {"promise/argmax_broken": (0, 0), "promise/l1_broken": (0, 0)}
