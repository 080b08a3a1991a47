from dataclasses import replace

import pytest

from arena.contracts import Knowledge
from arena.payoff.matrix import matrices
from arena.report.cells import audit_rows, honest_rows, protection_points, track_rows
from arena.report.effects import advantages, effects
from tests.payoff.matches import honest, match, over_seeds
from tests.report.stories import small_tournament


def test_an_effect_is_the_paired_difference_from_the_undefended_victim():
    (matrix,) = matrices(small_tournament())
    found = {(one.attack.label, one.defense.label): one for one in effects(matrix)}
    assert found["jbda", "label-only"].difference.mean == pytest.approx(-0.3)
    assert found["jbda", "label-only"].distinct
    assert set(found) == {("knockoff", "label-only"), ("jbda", "label-only")}


def test_an_effect_size_is_in_standard_deviations_over_seeds():
    """Differences of -10, -12, -8, -10, -10 of 100: mean -0.1, standard deviation 0.01414."""
    defended = over_seeds("knockoff", "mad", [700, 690, 740, 730, 740])
    (matrix,) = matrices([*over_seeds("knockoff", "none", [800, 810, 820, 830, 840]), *defended])
    (one,) = effects(matrix)
    assert one.size == pytest.approx(-0.1 / 0.0141421, rel=1e-4)


def test_attacks_are_compared_with_random_queries():
    (matrix,) = matrices(small_tournament())
    (one,) = advantages(matrix)
    assert (one.attack.label, one.distinct) == ("jbda", True)


def test_without_an_undefended_victim_there_is_no_effect():
    (matrix,) = matrices(over_seeds("knockoff", "label-only", [800] * 5))
    assert effects(matrix) == advantages(matrix) == ()


def test_the_three_tracks_of_a_cell_are_means_over_seeds():
    counts = {"a/fidelity": (900, 1_000), "a-hard/fidelity": (700, 1_000)}
    (matrix,) = matrices([match(seed=seed, counts=counts) for seed in range(2)])
    (row,) = track_rows(matrix)
    assert [one and one.mean for one in (row.a, row.a_hard, row.b)] == [0.9, 0.7, 0.8]


def test_what_honest_users_notice_is_pooled_over_matches():
    counts = {**honest(lost=10, changed=20), "utility/refused": (5, 1_000)}
    measures = {"utility/ece": 0.2, "utility/ece_clean": 0.1, "utility/l1_max": 1.5}
    (matrix,) = matrices([match(seed=seed, counts=counts, measures=measures) for seed in range(2)])
    (row,) = honest_rows(matrix)
    assert (row.refused, row.calibration, row.calibration_clean, row.largest_shift) == (0.005, 0.2, 0.1, 1.5)
    assert row.cost.changed == 40


def test_the_audit_of_a_defense_reports_its_least_favourable_match():
    knowledge = Knowledge(outliers="near")
    results = [
        match("knockoff", "guard", seed=seed, knowledge=knowledge, measures={"audit/p": p, "audit/power": 0.9 - p})
        for seed, p in enumerate([0.01, 0.2])
    ]
    (matrix,) = matrices(results)
    (row,) = audit_rows(matrix, [("outliers near",)])
    assert (row.verdict, row.p_value, row.power) == ("no leak found", 0.2, 0.7)
    (leaky,) = matrices([replace(one, flags=("leak",)) for one in results])
    assert audit_rows(leaky, [()])[0].verdict == "leak"


def test_protection_has_a_point_for_each_defense_with_its_cost():
    (matrix,) = matrices(small_tournament())
    points = {one.defense.label: one for one in protection_points(matrix)}
    assert points["none"].fidelity.mean == pytest.approx(0.92)
    assert points["none"].worst_attack == "jbda"
    assert points["label-only"].clone is not None
    assert points["label-only"].clone.mean == pytest.approx(0.72)
