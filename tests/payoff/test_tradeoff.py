from fractions import Fraction

import pytest

from arena.contracts import Spec
from arena.payoff.matrix import matrices
from arena.payoff.tradeoff import at_matched_loss, tradeoffs
from tests.payoff.matches import honest, match


def swept(attack, values, *, seeds=5):
    """Matches of rounding at several decimals: (clone accuracy, honest rows lost) by value."""
    return [
        match(
            attack,
            Spec(name="rounding", params=(("decimals", decimals),)),
            seed=seed,
            fidelity=accuracy + seed,
            counts=honest(lost=lost, changed=lost),
        )
        for decimals, (accuracy, lost) in values.items()
        for seed in range(seeds)
    ]


def undefended(accuracy=900):
    return [match(seed=seed, fidelity=accuracy + seed, counts=honest(lost=0, changed=0)) for seed in range(5)]


def curve_of(results):
    (matrix,) = matrices(results)
    (curve,) = tradeoffs(matrix)
    return curve


def test_a_curve_has_a_point_for_each_value_in_their_order():
    curve = curve_of([*undefended(), *swept("knockoff", {3: (800, 0), 1: (600, 20)})])
    assert (curve.defense, curve.parameter, curve.clean) == ("rounding", "decimals", 1.0)
    assert [(point.value, point.defended) for point in curve.points] == [(1.0, 0.98), (3.0, 1.0)]
    assert [point.clone.mean for point in curve.points] == pytest.approx([0.602, 0.802])
    assert curve.undefended is not None
    assert curve.undefended.clone.mean == pytest.approx(0.902)


def test_the_best_thief_makes_the_point():
    results = [*swept("knockoff", {3: (800, 0), 1: (600, 20)}), *swept("jbda", {3: (700, 0), 1: (650, 20)})]
    assert [point.attack for point in curve_of(results).points] == ["jbda", "knockoff"]


def test_one_value_is_no_curve():
    (matrix,) = matrices(swept("knockoff", {3: (800, 0)}))
    assert tradeoffs(matrix) == []


def test_the_least_at_a_loss_counts_only_values_that_cost_no_more_and_the_undefended_victim():
    curve = curve_of([*undefended(), *swept("knockoff", {3: (950, 0), 2: (800, 10), 1: (600, 40)})])
    least = [at_matched_loss(curve, allowed) for allowed in (Fraction(0), Fraction(1, 100), Fraction(5, 100))]
    assert [round(found.clone.mean, 3) for found in least] == [0.902, 0.802, 0.602]
    assert [found.point is curve.undefended for found in least] == [True, False, False]
    assert [found.point.value for found in least[1:]] == [2, 1]


def test_a_value_that_costs_just_what_is_allowed_is_allowed():
    for lost in (10, 20, 50):
        curve = curve_of([*undefended(), *swept("knockoff", {3: (950, 0), 2: (800, lost)})])
        assert at_matched_loss(curve, Fraction(lost, 1_000)).point.value == 2


def test_the_point_of_several_thieves_has_an_interval_that_allows_for_the_choice():
    results = [*swept("knockoff", {3: (800, 0), 1: (600, 20)}), *swept("jbda", {3: (799, 0), 1: (590, 20)})]
    point = curve_of(results).points[1]
    alone = curve_of(swept("knockoff", {3: (800, 0), 1: (600, 20)})).points[1]
    assert point.attack == "knockoff"
    assert point.clone.low < alone.clone.low
    assert point.clone.high == alone.clone.high
    assert set(point.clones) == {"knockoff", "jbda"}


def test_the_value_that_leaves_the_least_on_average_is_named_with_an_interval_that_allows_for_the_choice():
    lucky = [
        match(
            "knockoff",
            Spec(name="rounding", params=(("decimals", 1),)),
            seed=seed,
            fidelity=fidelity,
            counts=honest(lost=0, changed=0),
        )
        for seed, fidelity in enumerate([100, 990, 990, 990, 990])
    ]
    # By seed the minima are .1 and four times .82; the smallest mean is that of decimals = 1, .812.
    found = at_matched_loss(curve_of([*swept("knockoff", {2: (820, 0)}), *lucky]), Fraction(1))
    assert found.point.value == 1
    assert found.clone.mean == pytest.approx(0.812)
    # Lower end: the smaller of the two lower ends at 97.5 %; upper end: that of decimals = 2 at 98.75 %, of sd .0015811.
    assert found.clone.low == pytest.approx(0.812 - 2.7764 * 0.39803 / 5**0.5, abs=1e-4)
    assert found.clone.high == pytest.approx(0.822 + 3.4954 * 0.0015811 / 5**0.5, abs=1e-5)
