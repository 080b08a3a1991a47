import random

import numpy as np
import pytest
from scipy.optimize import linprog

from arena.payoff import equilibrium as module
from arena.payoff.equilibrium import Equilibrium, equilibrium


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


def test_of_many_equilibria_it_is_the_most_even_one():
    # p on the first row secures min(3p, 3 - 3p) >= 1 for 1/3 <= p <= 2/3 beside a column worth 1: the most even is 1/2.
    found = equilibrium([[3, 0, 1], [0, 3, 1]])
    assert found.value == pytest.approx(1)
    assert found.attacks == pytest.approx([1 / 2, 1 / 2])


def test_the_most_even_mixture_on_a_face_worked_out_by_hand():
    # (a, b, c) secures 1 if 2a + b >= 1: the most even one is uniform, just on the border.
    found = equilibrium([[2, 1], [1, 1], [0, 1]])
    assert found.attacks == pytest.approx([1 / 3] * 3, abs=1e-6)
    # It secures 1.5 if 2a + b >= 1.5: of maximum entropy is x^2 : x : 1 with 2x^2 + x = 1.5 (x^2 + x + 1), x^2 - x = 3.
    x = (1 + 13**0.5) / 2
    found = equilibrium([[2, 1.5], [1, 1.5], [0, 1.5]])
    assert found.attacks == pytest.approx([part / (x * x + x + 1) for part in (x * x, x, 1)], abs=1e-6)


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_copies_of_a_player_share_and_move_nobody(copies: int):
    # every mixture of the three defenses is in equilibrium against the first attack
    payoffs = [[0.8, 0.8, 0.8], [0.7, 0.2, 0.8]]
    once = equilibrium(payoffs)
    found = equilibrium([[row[0]] * copies + row[1:] for row in payoffs])
    assert found.value == pytest.approx(once.value)
    assert found.attacks == pytest.approx(once.attacks)
    assert found.defenses[:copies] == pytest.approx([once.defenses[0] / copies] * copies, abs=1e-6)
    assert found.defenses[copies:] == pytest.approx(once.defenses[1:], abs=1e-6)


def test_three_equal_defenses_share_whatever_their_order():
    payoffs = [[0.9, 0.868, 0.868, 0.868], [0.84, 0.7, 0.6, 0.868]]
    assert equilibrium(payoffs).defenses == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3], abs=1e-6)


def test_no_side_gains_by_leaving_in_games_with_many_equilibria():
    draw = random.Random(0)
    for _ in range(40):
        rows, columns = draw.randint(2, 8), draw.randint(2, 8)
        payoffs = [[draw.randint(0, 3) / 4 for _ in range(columns)] for _ in range(rows)]
        found = equilibrium(payoffs)
        against = [sum(q * cell for q, cell in zip(found.defenses, row, strict=True)) for row in payoffs]
        for_rows = [sum(p * row[j] for p, row in zip(found.attacks, payoffs, strict=True)) for j in range(columns)]
        assert max(against) <= found.value + 1e-6
        assert min(for_rows) >= found.value - 1e-6


def test_the_mixture_is_the_evenest_of_its_face():
    # The entropy falls along every direction that stays in equilibrium: its gradient times the way to any vertex.
    payoffs = np.array([[2, 1, 1, 0], [1, 2, 1, 1], [1, 1, 1, 2.0]])
    found = equilibrium(payoffs.tolist())
    for side, game in ((found.attacks, payoffs), (found.defenses, -payoffs.T)):
        shares = np.array(side)
        played = shares > 1e-9
        slope = -np.log(shares[played]) - 1
        bound = (shares @ game).min()
        best = linprog(
            -slope,
            A_ub=-game[played].T,
            b_ub=np.full(game.shape[1], 1e-9 - bound),
            A_eq=np.ones((1, played.sum())),
            b_eq=[1],
        )
        assert -best.fun - slope @ shares[played] < 1e-5


@pytest.mark.parametrize("levels", [2, 3, 8, 1_000])
def test_shortcuts_change_no_answer(levels: int, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(levels)
    games = [rng.integers(levels, size=rng.integers(1, 6, size=2)) / levels for _ in range(40)]
    suggested: list[Equilibrium] = []
    short = []
    for game in games:
        near = [one for one in suggested if (len(one.attacks), len(one.defenses)) == game.shape]
        short.append(module.equilibrium(game.tolist(), near=near))
        suggested.append(short[-1])
    monkeypatch.setattr(
        module, "_any_equilibrium", lambda game, near: (module._solved(game)[0], module._solved(-game.T)[0])
    )
    monkeypatch.setattr(module, "_evened", lambda game, mixture, **_: module._most_even(game, mixture))
    for game, found in zip(games, short, strict=True):
        long = module.equilibrium(game.tolist())
        assert found.value == pytest.approx(long.value, abs=1e-8)
        assert found.attacks == pytest.approx(long.attacks, abs=1e-3), game
        assert found.defenses == pytest.approx(long.defenses, abs=1e-3), game


def test_a_suggestion_that_is_no_equilibrium_here_is_not_used():
    wrong = Equilibrium(value=0, attacks=(1.0, 0.0), defenses=(1.0, 0.0))
    assert equilibrium([[3, 1], [1, 2]], near=[wrong]).attacks == pytest.approx([1 / 3, 2 / 3])
