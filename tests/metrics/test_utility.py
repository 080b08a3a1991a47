from __future__ import annotations

import pytest
import torch

from arena.contracts import Promise
from arena.metrics.utility import brier_score, broken_promises, calibration_error, utility

CLEAN = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2]])
NOTHING_REFUSED = torch.zeros(4, dtype=torch.bool)


def test_calibration_error_worked_out_by_hand():
    # two rows at 0.9, one right: |1 - 1.8|; two at 0.6, none right: |0 - 1.2|; (0.8 + 1.2) / 4 rows
    rows = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    assert calibration_error(rows, torch.tensor([0, 1, 1, 1])) == pytest.approx(0.5)
    # both at 0.9, one right of two
    assert calibration_error(rows[:2], torch.tensor([0, 1])) == pytest.approx(0.40)


def test_the_last_bin_is_closed():
    assert calibration_error(torch.eye(2), torch.tensor([0, 1])) == 0.0


def test_brier_score_is_the_squared_distance_to_the_truth():
    assert brier_score(torch.tensor([[0.8, 0.2], [0.0, 1.0]]), torch.tensor([0, 0])) == pytest.approx((0.08 + 2) / 2)


def test_an_unchanged_answer_costs_nothing():
    found = utility(released=CLEAN, refused=NOTHING_REFUSED, clean=CLEAN, labels=torch.tensor([0, 0, 1, 1]))
    assert found.counts == {
        "kept": (4, 4),
        "accuracy": (3, 4),
        "clean_accuracy": (3, 4),
        "refused": (0, 4),
        "changed": (0, 4),
        "one_hot": (0, 4),
    }
    assert (found.measures["l1"], found.measures["brier_cost"]) == (0, 0)


def test_a_refused_row_is_a_wrong_decision_and_no_probability():
    refused = torch.tensor([True, False, False, False])
    rows = CLEAN * (~refused).unsqueeze(1)
    found = utility(released=rows, refused=refused, clean=CLEAN, labels=torch.tensor([0, 0, 1, 1]))
    assert found.counts["accuracy"] == (2, 4)
    assert found.counts["kept"] == (3, 4)
    assert found.counts["refused"] == (1, 4)
    assert found.counts["changed"] == (0, 3)


def test_nothing_is_measured_where_everything_is_refused():
    found = utility(
        released=torch.zeros(4, 2), refused=~NOTHING_REFUSED, clean=CLEAN, labels=torch.tensor([0, 0, 1, 1])
    )
    assert found.measures == {}
    assert found.counts["accuracy"] == (0, 4)


def test_a_shift_is_the_l1_distance():
    moved = CLEAN + torch.tensor([0.1, -0.1])
    found = utility(released=moved, refused=NOTHING_REFUSED, clean=CLEAN, labels=torch.tensor([0, 0, 1, 1]))
    assert found.measures["l1"] == pytest.approx(0.2)
    assert found.counts["changed"] == (4, 4)


class TestPromises:
    def broken(
        self, promise: Promise, rows: torch.Tensor, *, decimals: int | None = None
    ) -> dict[str, tuple[int, int]]:
        return broken_promises(promise, clean=CLEAN, released=rows, refused=NOTHING_REFUSED, decimals=decimals)

    def test_that_were_not_made_are_not_counted(self):
        assert self.broken(Promise(), CLEAN.flip(1)) == {}

    def test_are_counted_row_by_row(self):
        rows = CLEAN.clone()
        rows[1] = torch.tensor([0.4, 0.6])
        assert self.broken(Promise(argmax=True, l1=0.3), rows) == {"argmax_broken": (1, 4), "l1_broken": (1, 4)}

    def test_a_tie_is_no_breach_and_neither_is_the_last_bit(self):
        rows = CLEAN.clone()
        rows[1] = torch.tensor([0.5, 0.5])
        assert self.broken(Promise(argmax=True, l1=0.2), rows) == {"argmax_broken": (0, 4), "l1_broken": (0, 4)}

    def test_rounding_by_the_oracle_is_no_breach(self):
        clean = torch.tensor([[0.46, 0.54]])
        released = torch.tensor([[0.5, 0.5]])
        found = broken_promises(
            Promise(argmax=True, l1=0.0), clean=clean, released=released, refused=torch.tensor([False]), decimals=1
        )
        assert found == {"argmax_broken": (0, 1), "l1_broken": (0, 1)}

    def test_a_refused_row_breaks_nothing(self):
        refused = torch.tensor([True, True, True, True])
        found = broken_promises(
            Promise(argmax=True), clean=CLEAN, released=torch.zeros(4, 2), refused=refused, decimals=None
        )
        assert found == {"argmax_broken": (0, 0)}
