import pytest

from arena.payoff.equilibrium import equilibrium


def test_rock_paper_scissors_is_worth_nothing_and_mixed_evenly():
    found = equilibrium([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    assert found.value == pytest.approx(0, abs=1e-9)
    assert found.attacks == pytest.approx([1 / 3] * 3)
    assert found.defenses == pytest.approx([1 / 3] * 3)


def test_two_by_two_worked_out_by_hand():
    # Rows mix with p so that 3p + 1 - p = p + 2 (1 - p): p = 1/3, value 5/3; columns likewise with q = 1/3.
    found = equilibrium([[3, 1], [1, 2]])
    assert found.value == pytest.approx(5 / 3)
    assert found.attacks == pytest.approx([1 / 3, 2 / 3])
    assert found.defenses == pytest.approx([1 / 3, 2 / 3])


def test_a_dominated_defense_is_never_played():
    found = equilibrium([[0.9, 0.5], [0.8, 0.6]])
    assert found.value == pytest.approx(0.6)
    assert found.defenses == pytest.approx([0, 1])
    assert found.attacks == pytest.approx([0, 1])


def test_one_cell_is_its_own_value():
    found = equilibrium([[0.7]])
    assert (found.value, found.attacks, found.defenses) == (pytest.approx(0.7), (1.0,), (1.0,))


def test_no_side_gains_by_leaving_the_equilibrium():
    payoffs = [[0.87, 0.81, 0.83, 0.70], [0.72, 0.67, 0.90, 0.75], [0.80, 0.85, 0.60, 0.78]]
    found = equilibrium(payoffs)
    rows = [sum(share * cell for share, cell in zip(found.defenses, row, strict=True)) for row in payoffs]
    columns = [
        sum(share * row[column] for share, row in zip(found.attacks, payoffs, strict=True)) for column in range(4)
    ]
    assert max(rows) == pytest.approx(found.value)
    assert min(columns) == pytest.approx(found.value)
