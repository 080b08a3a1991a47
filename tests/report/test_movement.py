from dataclasses import replace

import pytest

from arena.metrics.differences import unpaired_interval, unpaired_p_value
from arena.report.movement import movements
from arena.report.movement_tables import missing_sheet, movement_sheet, verdict
from tests.payoff.matches import match, over_seeds
from tests.report.stories import small_tournament

BEFORE = [800, 810, 820, 830, 840]


def test_a_tournament_against_itself_moves_nothing():
    found = movements(small_tournament(), small_tournament())
    assert found.moved == found.only_before == found.only_after == ()
    assert all(one.p_value == 1.0 for one in found.found)


def test_a_cell_that_rose_on_every_seed_moved_for_the_worse():
    found = movements(
        over_seeds("knockoff", "none", BEFORE), over_seeds("knockoff", "none", [one + 100 for one in BEFORE])
    )
    (moved,) = found.moved
    assert (moved.measured, moved.worse, moved.paired) == ("fidelity", True, True)
    assert moved.difference.mean == pytest.approx(0.1)
    assert (moved.before, moved.after) == (pytest.approx(0.82), pytest.approx(0.92))


def test_a_cell_that_fell_moved_but_not_for_the_worse():
    found = movements(
        over_seeds("knockoff", "none", BEFORE), over_seeds("knockoff", "none", [one - 100 for one in BEFORE])
    )
    assert len(found.moved) == 1
    assert found.worse == ()


def test_accuracy_that_honest_users_lose_is_compared_too():
    found = movements(over_seeds("knockoff", "mad", BEFORE), over_seeds("knockoff", "mad", BEFORE, lost=100))
    (moved,) = found.worse
    assert (moved.measured, moved.attack, moved.defense) == ("honest accuracy lost", "", "mad")
    assert moved.difference.mean == pytest.approx(0.1)


def test_the_same_difference_moves_nothing_in_a_large_family():
    """A p-value of about 0.02 passes alone, and not as one of forty."""
    after = [one + step for one, step in zip(BEFORE, [30, 10, 22, 41, 12], strict=True)]
    alone = movements(over_seeds("knockoff", "none", BEFORE), over_seeds("knockoff", "none", after))
    assert len(alone.moved) == 1
    others = [one for number in range(39) for one in over_seeds(f"attack-{number}", "none", [500, 520, 540, 510, 530])]
    again = [one for number in range(39) for one in over_seeds(f"attack-{number}", "none", [520, 500, 530, 540, 510])]
    among = movements(
        [*over_seeds("knockoff", "none", BEFORE), *others], [*over_seeds("knockoff", "none", after), *again]
    )
    assert among.moved == ()


def test_other_seeds_are_compared_without_pairs():
    after = [
        replace(one, matchup=replace(one.matchup, seed=one.matchup.seed + 10))
        for one in over_seeds("knockoff", "none", [one + 200 for one in BEFORE])
    ]
    found = movements(over_seeds("knockoff", "none", BEFORE), after)
    (moved,) = found.worse
    assert not moved.paired
    assert moved.size is None


def test_few_seeds_are_compared_and_not_tested():
    found = movements([match(fidelity=800)], [match(fidelity=300)])
    assert [one.tested for one in found.found] == [False]
    assert found.moved == ()
    assert "1 not tested, because fewer than 5 seeds were played" in verdict(found)


def test_cells_of_one_tournament_only_are_named():
    found = movements([*small_tournament(), match("maze")], [*small_tournament(), match("jbda", "mad")])
    assert [one.attack for one in found.only_before] == ["maze"]
    assert [(one.attack, one.defense) for one in found.only_after] == [("jbda", "mad")]
    assert missing_sheet(found.only_before, only="first").rows[0][1].text == "maze"


def test_only_what_moved_is_shown_unless_everything_is_wanted():
    found = movements(small_tournament(), small_tournament())
    assert movement_sheet(found, everything=False).rows == ()
    assert len(movement_sheet(found, everything=True).rows) == len(found.found) == 6


def test_settings_are_never_mixed():
    larger = [replace(one, matchup=replace(one.matchup, budget=200)) for one in small_tournament()]
    found = movements(small_tournament(), larger)
    assert found.found == ()
    assert len(found.only_before) == len(found.only_after) == 4


def test_welchs_interval_is_that_of_the_textbook():
    """Means 3 and 6, variances 2.5 and 10, n = 5: error sqrt(2.5), degrees 6.25 / (0.25 / 4 + 4 / 4) = 5.8824."""
    first, second = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 4.0, 6.0, 8.0, 10.0]
    interval = unpaired_interval(first, second, images=1_000_000)
    assert interval.low is not None
    assert interval.low == pytest.approx(3 - 2.4587 * 1.58114, abs=2e-3)
    assert unpaired_p_value(first, second, images=1_000_000) == pytest.approx(0.1073, abs=2e-3)
