from arena.payoff.matrix import matrices
from arena.report.queries import TARGETS, RowsToReach, query_curves
from tests.payoff.matches import match
from tests.report.stories import with_curves


def test_a_curve_has_a_point_for_each_number_of_rows_and_one_for_the_whole_transfer_set():
    (matrix,) = matrices(with_curves())
    (curve,) = query_curves(matrix)
    assert [point.rows for point in curve.points] == [25, 50, 100]
    assert [point.fidelity.mean for point in curve.points] == [0.6, 0.8, 0.9]


def test_rows_to_reach_are_the_smallest_measured_ones():
    """The victim is right on 95 %: 80, 90 and 95 % of that are 0.76, 0.855 and 0.9025."""
    (matrix,) = matrices(with_curves())
    (curve,) = query_curves(matrix)
    assert [one.target for one in curve.reach] == list(TARGETS)
    assert [one.rows for one in curve.reach] == [(50,) * 5, (100,) * 5, (None,) * 5]
    assert [one.median for one in curve.reach] == [50, 100, None]


def test_the_median_is_unknown_if_most_seeds_did_not_reach_the_target():
    few = RowsToReach(target=0.9, rows=(50, None, 25, None, None), most=100)
    assert (few.reached, few.median, few.least, few.largest) == (2, None, 25, None)
    most = RowsToReach(target=0.9, rows=(50, None, 25, 50, None), most=100)
    assert (most.median, most.least, most.largest) == (50, 25, None)


def test_without_a_clone_of_track_a_there_is_no_curve():
    (matrix,) = matrices([match()])
    assert query_curves(matrix) == ()
