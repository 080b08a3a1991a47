from dataclasses import replace
from fractions import Fraction

import pytest

from arena.contracts import from_json, to_json
from arena.contracts.matchup import MatchResult
from arena.payoff.cost import cost_of
from tests.payoff.matches import CRASHED, by_image, honest, match


def cost(*, lost: int, changed: int, rows: int = 1_000, one_hot: int = 0, l1: float = 0.1):
    counts = honest(lost=lost, changed=changed, rows=rows, one_hot=one_hot)
    return cost_of([match(counts=counts, measures={"utility/l1": l1})])


def recorded(*, lost: int, rows: int = 1_000, attacks: int = 1, seeds: int = 1, times: int = 1):
    counts = honest(lost=times * lost, changed=times * lost, rows=times * rows)
    outcomes = by_image(lost=lost, rows=rows, times=times)
    return [
        match(f"attack-{attack}", "mad", seed=seed, counts=counts, outcomes=outcomes)
        for attack in range(attacks)
        for seed in range(seeds)
    ]


def test_no_decision_changed_is_free():
    found = cost(lost=0, changed=0)
    assert found.division == "free"
    assert found.borders == ()


def test_one_decision_changed_is_not_free_even_if_no_accuracy_is_lost():
    assert cost(lost=0, changed=1).division == "1pt"
    assert cost(lost=-3, changed=5).division == "1pt"


@pytest.mark.parametrize(
    ("lost", "division"), [(9, "1pt"), (10, "1pt"), (11, "5pt"), (50, "5pt"), (51, "open"), (900, "open")]
)
def test_divisions_are_by_points_of_accuracy_lost(lost, division):
    assert cost(lost=lost, changed=lost).division == division
    assert cost_of(recorded(lost=lost)).division == division


@pytest.mark.parametrize("rows", [200, 300, 700, 1_100, 1_900])
def test_a_defense_that_loses_just_a_point_is_inside_whatever_the_rounding(rows: int):
    exact = cost_of(recorded(lost=rows // 100, rows=rows, seeds=3, attacks=7))
    assert exact.lost == Fraction(1, 100)
    assert exact.division == "1pt"


def test_each_border_inside_the_interval_is_named():
    assert cost_of(recorded(lost=11)).borders == ("1pt",)
    assert cost_of(recorded(lost=25)).borders == ()
    assert cost_of(recorded(lost=3, rows=100)).borders == ("1pt", "5pt")


@pytest.mark.parametrize(("attacks", "seeds", "times"), [(1, 1, 1), (11, 1, 1), (11, 5, 1), (4, 5, 3)])
def test_an_image_counts_once_however_many_attacks_seeds_and_repeats_asked_it(attacks: int, seeds: int, times: int):
    found = cost_of(recorded(lost=2, rows=200, attacks=attacks, seeds=seeds, times=times))
    assert (found.lost, found.images) == (Fraction(1, 100), 200)
    assert (round(100 * found.low, 3), round(100 * found.high, 3)) == (-0.946, 2.926)


def test_changed_decisions_are_counted_as_integers_over_matches():
    found = cost_of([*recorded(lost=1, rows=100), *recorded(lost=0, rows=100, seeds=2)])
    assert (found.changed, found.rows) == (1, 300)


def test_results_that_recorded_no_images_have_the_widest_interval():
    # 2,000 rows of ten accounts are 200 images or more; 20 of them changed: N = 200, a = 3 / 202, b = 1 / 202
    found = cost(lost=20, changed=20, rows=2_000)
    assert found.images is None
    assert (round(100 * found.low, 3), round(100 * found.high, 3)) == (-0.946, 2.926)
    assert cost(lost=0, changed=20, rows=2_000).half > 0.018


def test_outcomes_that_do_not_agree_with_the_counts_are_not_used():
    # the rest of the rows was never answered, and the counts have them as wrong
    (result,) = recorded(lost=2, rows=200)
    faulty = replace(result, counts={**result.counts, **honest(lost=102, changed=102, rows=300)})
    assert cost_of([result, faulty]).images is None
    assert cost_of([result]).images == 200


def test_a_stored_result_keeps_its_images_and_one_without_them_is_still_read():
    (result,) = recorded(lost=2, rows=200)
    stored = to_json(result)
    assert from_json(MatchResult, stored) == result
    older = {name: value for name, value in stored.items() if name != "honest"}
    assert from_json(MatchResult, older) == replace(result, honest=None)


def test_one_hot_or_far_shifted_scores_are_not_kept():
    assert cost(lost=0, changed=0).score_class == "scores kept"
    assert cost(lost=0, changed=0, one_hot=990).score_class == "scores not kept"
    assert cost(lost=0, changed=0, one_hot=989).score_class == "scores kept"
    assert cost(lost=0, changed=0, l1=0.51).score_class == "scores not kept"


@pytest.mark.parametrize("l1", [0.5 - 1e-10, 0.5, 0.50000000016, 0.500001])
def test_a_bound_that_is_met_by_construction_is_met_whatever_the_rounding(l1: float):
    assert cost(lost=0, changed=0, l1=l1).score_class == "scores kept"


def test_matches_without_honest_rows_have_no_cost():
    assert cost_of([match(), match(verdict=CRASHED)]) is None
