import pytest

from arena.metrics.extremes import largest_mean, smallest_maximum

FIRST = [0.70, 0.72, 0.74, 0.70, 0.74]
SECOND = [0.73, 0.71, 0.70, 0.76, 0.70]  # both of mean .72
LOW = [0.50, 0.52, 0.51, 0.50, 0.52]
IMAGES = 400


def test_the_interval_of_the_largest_mean_worked_out_by_hand():
    # se .00894 and .01140; t(4) = 3.4954 at 1 - .025 / 2 and 2.7764 at .975
    found = largest_mean([FIRST, SECOND], images=IMAGES)
    assert found.interval.mean == pytest.approx(0.72)
    assert found.interval.low == pytest.approx(0.6887, abs=1e-4)
    assert found.interval.high == pytest.approx(0.7517, abs=1e-4)
    assert (found.place, found.near) == (0, 2)


def test_one_row_has_its_own_t_interval():
    found = largest_mean([[0.68, 0.69, 0.70, 0.71, 0.72]], images=IMAGES)
    assert found.interval.half == pytest.approx(0.019632, abs=1e-6)


def test_a_row_far_below_is_not_near_and_moves_only_the_correction():
    found = largest_mean([FIRST, LOW], images=IMAGES)
    assert (found.place, found.near) == (0, 1)
    assert found.interval.low == pytest.approx(0.6887, abs=1e-4)


def test_a_copy_of_a_row_moves_nothing():
    assert largest_mean([FIRST, LOW, LOW, FIRST], images=IMAGES) == largest_mean([FIRST, LOW], images=IMAGES)


def test_a_row_that_is_ahead_on_every_seed_is_the_only_one_that_may_be_the_worst():
    ahead = [value + 0.01 + seed / IMAGES for seed, value in enumerate(FIRST)]
    assert largest_mean([FIRST, ahead], images=IMAGES).near == 1


def test_few_seeds_have_a_largest_mean_and_no_interval():
    found = largest_mean([LOW[:3], FIRST[:3]], images=IMAGES)
    assert found.place == 1
    assert found.interval.half is None
    assert found.interval.values == tuple(FIRST[:3])


def test_the_smallest_maximum_names_its_table_and_mirrors_the_interval():
    found = smallest_maximum([[FIRST, LOW], [LOW]], images=IMAGES)
    assert found.place == 1
    assert found.interval.mean == pytest.approx(0.51)
    assert found.interval.low == pytest.approx(0.51 - 2.7764 * 0.01 / 5**0.5, abs=1e-5)
    assert found.interval.high == pytest.approx(0.51 + 3.4954 * 0.01 / 5**0.5, abs=1e-5)


def test_the_smallest_of_one_table_is_its_largest_mean():
    found = smallest_maximum([[FIRST, SECOND]], images=IMAGES)
    assert found.interval == largest_mean([FIRST, SECOND], images=IMAGES).interval
