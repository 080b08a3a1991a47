from __future__ import annotations

from dataclasses import replace

import pytest

from arena.contracts import Knowledge, Spec
from arena.payoff.matrix import defense_label, label, matrices, payoff, without_parameters
from tests.payoff.results import result, table


def test_a_payoff_is_the_largest_of_the_three_tracks_else_the_floor():
    counts = {"a-hard/fidelity": (60, 100), "b/fidelity": (7, 10), "floor/fidelity": (99, 100)}
    assert payoff(result("knockoff", "none", 50, counts=counts)) == 0.7
    fell_over = replace(result("knockoff", "none", 50), counts={"floor/fidelity": (12, 100)})
    assert payoff(fell_over) == 0.12
    assert payoff(result("knockoff", "none", None)) is None


def test_a_cell_is_a_mean_over_seeds_and_missing_matches_are_missing():
    (matrix,) = matrices(table({("knockoff", "none"): [50, 70, None], ("jbda", "none"): [None]}))
    cell = matrix.cell("knockoff", "none")
    assert cell is not None
    assert (cell.mean, cell.n) == (pytest.approx(0.6), 2)
    assert matrix.cell("jbda", "none") is None
    assert len(matrix.of_attack("knockoff")) == 3


def test_the_worst_attack_is_chosen_on_the_other_seeds():
    # by the other two seeds' means: seed 0 chooses jbda (.45 against .4), seed 1 jbda (.45, .4), seed 2 knockoff
    # (.55 against .5); its own figures are .6, .3 and .1: a maximum over the same seeds would say more.
    (matrix,) = matrices(table({("knockoff", "mad"): [40, 70, 10], ("jbda", "mad"): [60, 30, 60]}))
    worst = matrix.worst_case("mad")
    assert worst is not None
    assert worst.mean == pytest.approx((0.6 + 0.3 + 0.1) / 3)
    assert matrix.worst_case("nothing") is None


def test_different_terms_are_different_matrices():
    one = result("knockoff", "none", 50)
    other = [
        replace(one, matchup=replace(one.matchup, **change))
        for change in (
            {"budget": 7},
            {"informed": True},
            {"pool": "far"},
            {"victim_seed": 1},
            {"pool_source": "glyphs"},
        )
    ]
    assert len(matrices([one, *other, one])) == 6


def test_the_same_defense_that_knows_more_is_another_column():
    one = result("knockoff", "mad", 50)
    knowing = replace(one, matchup=replace(one.matchup, knowledge=Knowledge(surrogate="attacker")))
    (matrix,) = matrices([one, knowing])
    assert matrix.defenses == ("mad", "mad +attacker")
    assert matrix.short("mad +attacker") == "mad +attacker"


def test_labels_are_what_a_reader_writes():
    base = Spec(name="jbda", params=(("step", 0.2),))
    assert label(Spec(name="argmax", params=(("base", base),))) == "argmax(base=jbda(step=0.2))"
    assert label(Spec(name="/a/long/way/to/mine")) == "mine"
    assert without_parameters("argmax(base=jbda(step=0.2))") == "argmax(jbda)"
    assert without_parameters("mad(epsilon=0.5)") == "mad"
    assert defense_label(Spec(name="mad"), Knowledge(surrogate="random", outliers="pool")) == "mad +pool"
