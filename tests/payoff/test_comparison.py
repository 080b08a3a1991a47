import pytest

from arena.payoff.comparison import against_attack, against_defense
from arena.payoff.matrix import matrices
from tests.payoff.matches import over_seeds

BASE = [800, 805, 795, 810, 790]


def shifted(by: list[int]) -> list[int]:
    return [base + difference for base, difference in zip(BASE, by, strict=True)]


def test_differences_are_taken_seed_by_seed():
    results = over_seeds("knockoff", "none", BASE) + over_seeds("jbda", "none", shifted([20, 30, 10, 40, 20]))
    (matrix,) = matrices(results)
    (found,) = against_attack(matrix, "knockoff", "none")
    assert found.player == "jbda"
    assert found.difference.mean == pytest.approx(0.024)
    assert found.difference.half == pytest.approx(0.014157, abs=1e-5)  # differences (2, 3, 1, 4, 2) points by hand
    assert found.distinct


def test_a_family_is_corrected_so_that_a_near_miss_stays_one():
    # Alone its p of .03 would do; as one of three hypotheses, of which no other is clear, it does not.
    alone = over_seeds("knockoff", "none", BASE) + over_seeds("first", "none", shifted([20, 3, 10, 4, 20]))
    (matrix,) = matrices(alone)
    assert against_attack(matrix, "knockoff", "none")[0].distinct
    family = [
        *alone,
        *over_seeds("second", "none", shifted([9, -8, 7, -9, 2])),
        *over_seeds("third", "none", shifted([-5, 8, -7, 9, -3])),
    ]
    (matrix,) = matrices(family)
    assert [one.distinct for one in against_attack(matrix, "knockoff", "none")] == [False, False, False]


def test_seeds_that_only_one_side_played_are_left_out():
    results = over_seeds("knockoff", "none", BASE) + over_seeds("knockoff", "label-only", [700, 705, 695])
    (matrix,) = matrices(results)
    (found,) = against_defense(matrix, "none", "knockoff")
    assert found.difference.n == 3
    assert found.difference.mean == pytest.approx(-0.1)
    assert found.difference.half is None
    assert not found.distinct
