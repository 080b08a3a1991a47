import math

import pytest

from arena.metrics.intervals import Interval, for_new_images, mean_interval, share_interval, t_quantile, wilson

DIFFERENCES = [2.0, 3.0, 1.0, 4.0, 2.0]  # mean 2.4, sd 1.1402, t(4) = 2.776


def test_wilson_interval_worked_out_by_hand():
    assert wilson(8_686, 10_000) == pytest.approx((0.8618, 0.8751), abs=5e-5)


def test_wilson_stays_inside_the_unit_interval():
    low, high = wilson(0, 20)
    assert low == pytest.approx(0, abs=1e-12)
    assert 0 < high < 0.2


@pytest.mark.parametrize(("degrees", "quantile"), [(2, 4.3027), (4, 2.7764), (9, 2.2622)])
def test_quantiles_of_t_are_those_of_the_tables(degrees: int, quantile: float):
    assert t_quantile(degrees) == pytest.approx(quantile, abs=1e-4)


def test_paired_interval_worked_out_by_hand():
    interval = mean_interval(DIFFERENCES)
    assert interval.mean == pytest.approx(2.4)
    assert interval.half == pytest.approx(1.4157, abs=1e-4)
    assert (interval.low, interval.high) == (pytest.approx(0.9843, abs=1e-4), pytest.approx(3.8157, abs=1e-4))
    assert interval.n == 5
    assert interval.excludes_zero


def test_a_share_of_images_worked_out_by_hand():
    assert share_interval([0.68, 0.69, 0.70, 0.71, 0.72], images=400).half == pytest.approx(0.019632, abs=1e-6)


def test_fewer_than_five_seeds_claim_no_interval_and_keep_their_values():
    interval = mean_interval(DIFFERENCES[:4])
    assert (interval.low, interval.high, interval.half) == (None, None, None)
    assert interval.values == tuple(DIFFERENCES[:4])
    assert not interval.excludes_zero


def test_seeds_that_agree_to_the_image_leave_the_spread_of_its_rounding():
    # 2.7764 / (400 sqrt(12)) / sqrt(5)
    assert share_interval([0.7] * 5, images=400).half == pytest.approx(0.000896, abs=1e-6)


def test_a_share_stays_between_nothing_and_all():
    interval = share_interval([0.99, 1.0, 0.95, 1.0, 1.0], images=400)
    assert interval.high == 1
    assert interval.low == pytest.approx(0.9611, abs=1e-4)
    assert share_interval([0.0, 0.0, 0.05, 0.0, 0.0], images=400).low == 0


def test_new_images_add_their_own_variance():
    interval = Interval(mean=0.5, n=5, low=0.47, high=0.53)
    wider = for_new_images(interval, images=400)
    assert wider.half == pytest.approx(math.sqrt(0.03**2 + 1.96**2 * 0.25 / 400))
    assert for_new_images(Interval(mean=0.5, n=1), images=400).half is None


def test_new_images_leave_a_lopsided_interval_lopsided():
    wider = for_new_images(Interval(mean=0.5, n=5, low=0.49, high=0.6), images=400)
    assert wider.mean - wider.low == pytest.approx(math.hypot(0.01, 0.049))
    assert wider.high - wider.mean == pytest.approx(math.hypot(0.1, 0.049))
