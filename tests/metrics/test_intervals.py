from __future__ import annotations

import pytest

from arena.metrics.intervals import holm, mean_interval, paired_p_value, smallest_difference, t_quantile, wilson


def test_paired_differences_worked_out_by_hand():
    # mean 12 / 5; squares of deviations .16 + .36 + 1.96 + 2.56 + .16 = 5.2, sd sqrt(1.3); t(4) = 2.7764
    found = mean_interval([2, 3, 1, 4, 2])
    assert found.mean == 2.4
    assert found.half == pytest.approx(1.4157, abs=5e-4)
    assert found.n == 5
    assert found.excludes_zero


def test_fewer_than_five_seeds_claim_no_interval():
    found = mean_interval([2, 3, 1, 4])
    assert (found.mean, found.half, found.excludes_zero) == (2.5, None, False)
    assert smallest_difference(4, spread=3.0) is None


def test_the_smallest_difference_is_the_half_width_of_that_spread():
    assert t_quantile(4) == pytest.approx(2.7764, abs=1e-4)
    assert smallest_difference(5, spread=3.0) == pytest.approx(2.7764 * 3 / 5**0.5, abs=1e-3)


def test_wilson_of_one_frozen_model():
    low, high = wilson(8686, 10_000)
    assert (round(low, 4), round(high, 4)) == (0.8618, 0.8751)
    assert wilson(0, 10)[0] == pytest.approx(0, abs=1e-12)
    assert wilson(10, 10)[1] == pytest.approx(1, abs=1e-12)


def test_a_paired_p_value_is_that_of_the_t_test():
    assert paired_p_value([2, 3, 1, 4, 2]) == pytest.approx(0.0093, abs=2e-4)  # t = 2.4 / (1.1402 / sqrt 5) = 4.707
    assert paired_p_value([2.0]) == 1.0
    assert paired_p_value([0.0, 0.0]) == 1.0
    assert paired_p_value([0.1, 0.1]) == 0.0


def test_holm_rejects_from_the_smallest_on_and_stops_at_the_first_that_stands():
    assert holm([0.01, 0.04, 0.03]) == [True, False, False]  # 0.01 <= .05 / 3, 0.03 > .05 / 2
    assert holm([0.01, 0.02, 0.04]) == [True, True, True]
    assert holm([0.02, 0.001, 0.9]) == [True, True, False]
    assert holm([]) == []
