from __future__ import annotations

import pytest

from arena.payoff.equilibrium import equilibrium


def test_rock_paper_scissors_is_played_at_random():
    found = equilibrium([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    assert found.value == pytest.approx(0, abs=1e-9)
    assert found.attacks == pytest.approx((1 / 3,) * 3)
    assert found.defenses == pytest.approx((1 / 3,) * 3)


def test_a_two_by_two_game_worked_out_by_hand():
    # without a saddle: p = (d - c) / (a - b - c + d) = (3 - 1) / 5, q = (d - b) / 5 = 1 / 5, value (ad - bc) / 5
    found = equilibrium([[4, 2], [1, 3]])
    assert found.value == pytest.approx((12 - 2) / 4)
    assert found.attacks == pytest.approx((0.5, 0.5))
    assert found.defenses == pytest.approx((0.25, 0.75))


def test_a_saddle_point_is_played_surely():
    found = equilibrium([[0.5, 0.9], [0.4, 0.1]])
    assert (found.value, found.attacks, found.defenses) == (pytest.approx(0.5), (1.0, 0.0), (1.0, 0.0))


def test_one_cell_is_its_own_equilibrium():
    found = equilibrium([[0.7]])
    assert (found.value, found.attacks, found.defenses) == (pytest.approx(0.7), (1.0,), (1.0,))
