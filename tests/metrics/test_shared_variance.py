import numpy as np
import pytest

from arena.metrics.intervals import share_interval
from arena.metrics.shared_variance import independent_rows, share_intervals, share_variance, trigamma_inverse

TURNS = ((0.70, 0.72, 0.71), (0.71, 0.70, 0.72), (0.72, 0.71, 0.70))  # all of sd .01, and nothing in common
SEEDS_3 = [[value + 0.01 * cell for value in TURNS[cell % 3]] for cell in range(6)]


def test_the_inverse_of_trigamma():
    assert trigamma_inverse(0.5) == pytest.approx(2.45995, abs=1e-5)
    assert trigamma_inverse(np.pi**2 / 6) == pytest.approx(1)


def test_equal_variances_share_all_that_they_may():
    # the differences of three rows on five seeds: two are independent, so f0 = inf is cut to 1 x 4, at half weight 2
    found = share_variance(np.array([4.0, 4.0, 4.0]), degrees=4, independent=2)
    assert found.degrees == 6
    assert found.variances == pytest.approx([4, 4, 4])


def test_unequal_variances_are_drawn_towards_their_common_one():
    # f0 = 4.2989, s0^2 = 3.3688; used 2: (2 x 3.3688 + 4 v) / 6
    found = share_variance(np.array([1.0, 4.0, 9.0]), degrees=4, independent=2)
    assert found.degrees == pytest.approx(6)
    assert found.variances == pytest.approx([1.7896, 3.7896, 7.1230], abs=1e-4)


def test_two_variances_are_left_as_they_are():
    found = share_variance(np.array([1.0, 9.0]), degrees=4, independent=2)
    assert found.degrees == 4
    assert found.variances.tolist() == [1, 9]


def test_five_seeds_speak_for_themselves():
    cells = [[0.68, 0.69, 0.70, 0.71, 0.72]] * 8
    assert share_intervals(cells, images=400) == [share_interval(cells[0], images=400)] * 8


def test_six_cells_of_three_seeds_have_an_approximate_interval():
    # variance .0001 everywhere, five independent rows: f0 = inf, cut to 4 x 2, at half weight 4; t(6) = 2.4469
    intervals = share_intervals(SEEDS_3, images=400)
    assert all(interval.approximate for interval in intervals)
    assert intervals[0].half == pytest.approx(2.4469 * 0.01 / 3**0.5, abs=1e-6)
    assert intervals[0].values == tuple(SEEDS_3[0])


def test_what_all_cells_of_a_seed_have_in_common_they_tell_once():
    # six cells that move as one are one: t(2) = 4.3027
    cells = [[value + 0.01 * cell for value in TURNS[0]] for cell in range(6)]
    assert independent_rows(np.array(cells)) == pytest.approx(1)
    assert share_intervals(cells, images=400)[0].half == pytest.approx(4.3027 * 0.01 / 3**0.5, abs=1e-6)
    assert independent_rows(np.array(SEEDS_3)) == pytest.approx(5)  # that sum to the same on each seed


def test_fewer_than_six_different_cells_or_three_seeds_have_none():
    assert all(interval.half is None for interval in share_intervals(SEEDS_3[:5], images=400))
    assert all(interval.half is None for interval in share_intervals([*SEEDS_3[:5], SEEDS_3[0]], images=400))
    assert all(interval.half is None for interval in share_intervals([row[:2] for row in SEEDS_3], images=400))


def test_a_copy_of_a_cell_moves_no_other_interval():
    once, twice = (share_intervals(cells, images=400) for cells in (SEEDS_3, [*SEEDS_3, SEEDS_3[0]]))
    assert twice[:6] == once
    assert twice[6] == once[0]
