import pytest

from arena.metrics.intervals import holm, mean_interval, paired_p_value, smallest_difference, wilson

DIFFERENCES = [2.0, 3.0, 1.0, 4.0, 2.0]  # mean 2.4, sd 1.1402, t(4) = 2.776


def test_wilson_interval_worked_out_by_hand():
    assert wilson(8_686, 10_000) == pytest.approx((0.8618, 0.8751), abs=5e-5)


def test_wilson_stays_inside_the_unit_interval():
    low, high = wilson(0, 20)
    assert low == pytest.approx(0, abs=1e-12)
    assert 0 < high < 0.2


def test_paired_interval_worked_out_by_hand():
    interval = mean_interval(DIFFERENCES)
    assert interval.mean == pytest.approx(2.4)
    assert interval.half == pytest.approx(1.4157, abs=1e-4)
    assert interval.n == 5
    assert interval.excludes_zero


def test_fewer_than_five_seeds_claim_no_interval_and_no_difference():
    interval = mean_interval(DIFFERENCES[:4])
    assert interval.half is None
    assert not interval.excludes_zero
    assert paired_p_value([10.0, 10.1, 10.2, 10.1]) == 1


def test_the_interval_and_the_test_agree():
    assert paired_p_value(DIFFERENCES) == pytest.approx(0.0094, abs=1e-3)
    barely = mean_interval(DIFFERENCES).half
    shifted = [difference - 2.4 + barely for difference in DIFFERENCES]
    assert paired_p_value(shifted) == pytest.approx(0.05)


def test_equal_differences_are_certain_and_none_at_all_is_nothing():
    assert paired_p_value([1.0] * 5) == 0
    assert paired_p_value([0.0] * 5) == 1


def test_holm_stops_at_the_first_that_it_cannot_reject():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([0.03, 0.03]) == [False, False]
    assert holm([0.02, 0.04]) == [True, True]
    assert holm([]) == []


def test_smallest_difference_is_the_half_width_of_what_has_this_spread():
    assert smallest_difference(5, spread=1.1402) == pytest.approx(1.4157, abs=1e-3)
    assert smallest_difference(4, spread=1.0) is None
