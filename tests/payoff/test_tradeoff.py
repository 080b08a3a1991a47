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
    least = [at_matched_loss(curve, allowed) for allowed in (0.0, 0.01, 0.05)]
    assert [interval and round(interval.mean, 3) for interval in least] == [0.902, 0.802, 0.602]


def test_the_value_is_chosen_on_the_other_seeds():
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
    found = at_matched_loss(curve_of([*swept("knockoff", {2: (820, 0)}), *lucky]), 1.0)
    # Seen from seed 0 alone decimals = 1 stops the thief, from the others decimals = 2 does: each is tried elsewhere.
    assert found is not None
    assert found.mean == pytest.approx((0.820 + 0.990 * 4) / 5)
