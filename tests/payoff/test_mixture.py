import itertools

import pytest

from arena.payoff import equilibrium as module
from arena.payoff.matrix import matrices
from arena.payoff.mixture import mixture
from tests.payoff.matches import CRASHED, match, over_seeds


def mixed(results):
    (matrix,) = matrices(results)
    return mixture(matrix)


def test_an_incomplete_column_stays_out_of_the_equilibrium():
    found = mixed(
        over_seeds("knockoff", "none", [800])
        + over_seeds("jbda", "none", [700])
        + over_seeds("knockoff", "half-played", [100])
        + [match("jbda", "half-played", verdict=CRASHED)]
    )
    assert found.defenses == {"none": pytest.approx(1)}
    assert found.value == pytest.approx(0.8)


def test_equal_defenses_share_the_equilibrium():
    fidelities = [860, 870, 850, 880, 870]
    results = [one for name in ("a", "b", "c") for one in over_seeds("knockoff", name, fidelities)]
    found = mixed(results + over_seeds("knockoff", "none", [900] * 5))
    assert found.defenses == {
        "a": pytest.approx(1 / 3),
        "b": pytest.approx(1 / 3),
        "c": pytest.approx(1 / 3),
        "none": 0,
    }


def test_what_the_seeds_decide_is_seen_in_the_resampled_shares():
    # on some draws of seeds the first leaves less, on the others the second
    close = over_seeds("knockoff", "first", [800, 700, 810, 690, 745]) + over_seeds(
        "knockoff", "second", [700, 800, 690, 810, 750]
    )
    spread = mixed(close).resampled.defenses
    assert (spread["first"].low, spread["first"].high) == (0, 1)
    clear = over_seeds("knockoff", "first", [500, 510, 490, 505, 495]) + over_seeds("knockoff", "second", [800] * 5)
    spread = mixed(clear).resampled.defenses
    assert (spread["first"].low, spread["second"].high) == (1, 0)


def test_few_of_the_resampled_equilibria_need_a_linear_programme(monkeypatch: pytest.MonkeyPatch):
    """Rock, paper and scissors of attacks and defenses: no draw has a pure equilibrium."""
    solved = []
    exactly = module._solved
    monkeypatch.setattr(module, "_solved", lambda game: solved.append(game) or exactly(game))
    levels, results = {0: 700, 1: 500, 2: 900}, []
    for attack, defense in itertools.product(range(3), repeat=2):
        level = levels[(attack - defense) % 3]
        results += over_seeds(
            f"attack-{attack}", f"defense-{defense}", [level + seed * (attack + 1) for seed in range(10)]
        )
    assert mixed(results).resampled.defenses["defense-0"].low == pytest.approx(1 / 3, abs=0.05)
    assert 1 <= len(solved) <= 10


def test_the_resampled_spread_is_the_same_each_time_and_needs_five_seeds():
    results = over_seeds("knockoff", "first", [500, 510, 490, 505, 495])
    assert mixed(results) == mixed(results)
    assert mixed(results[:4]).resampled is None
