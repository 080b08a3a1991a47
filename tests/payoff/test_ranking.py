from __future__ import annotations

from dataclasses import replace

import pytest

from arena.payoff.comparison import against_attack, against_defense
from arena.payoff.matrix import matrices
from arena.payoff.ranking import Cost, cost_of, equilibrium_shares, standings
from tests.payoff.results import result, table


def costing(
    hits: int, *, clean: int = 9_000, kept: int = 9_900, rows: int = 10_000, one_hot: int = 0, l1: float = 0.1
) -> Cost:
    counts = {
        "utility/accuracy": (hits, rows),
        "utility/clean_accuracy": (clean, rows),
        "utility/kept": (kept, rows),
        "utility/one_hot": (one_hot, rows),
    }
    cost = cost_of([result("knockoff", "mad", 50, counts=counts, l1=l1)])
    assert cost is not None
    return cost


def test_costs_are_pooled_as_integers_over_matches():
    halves = [
        result("knockoff", "mad", 50, seed=seed, counts={"utility/accuracy": (hits, 100), "utility/kept": (98, 100)})
        for seed, hits in enumerate((90, 84))
    ]
    cost = cost_of(halves)
    assert cost is not None
    assert (cost.decisions, cost.changed, cost.rows) == (pytest.approx(6 / 200), 4, 200)
    assert cost_of([]) is None
    assert cost_of([replace(halves[0], counts={})]) is None


@pytest.mark.parametrize(
    ("hits", "kept", "division"),
    [
        (9_000, 10_000, "free"),
        (9_000, 9_999, "1pt"),
        (8_900, 9_900, "1pt"),
        (8_899, 9_900, "5pt"),
        (8_500, 9_500, "5pt"),
        (8_499, 9_500, "open"),
    ],
)
def test_divisions_are_points_of_accuracy_and_free_changes_nothing(hits: int, kept: int, division: str):
    assert costing(hits, kept=kept).division == division


def test_an_interval_that_crosses_a_border_is_marked():
    # half = 1.96 sqrt((flips - lost^2) / rows): flips .01, lost .009 = .00195, and .009 + .00195 > .01
    assert costing(8_910).borderline
    assert costing(8_910).half == pytest.approx(0.001952, abs=1e-6)
    assert not costing(8_950).borderline
    assert not costing(9_000, kept=10_000).borderline


@pytest.mark.parametrize(
    ("one_hot", "l1", "kind"),
    [(0, 0.5, "scores kept"), (0, 0.51, "labels only"), (9_899, 0.1, "scores kept"), (9_900, 0.1, "labels only")],
)
def test_scores_are_kept_within_a_bound(one_hot: int, l1: float, kind: str):
    assert costing(8_950, one_hot=one_hot, l1=l1).score_class == kind


SIX = range(6)


def test_what_cannot_be_told_apart_shares_a_rank():
    (matrix,) = matrices(
        table(
            {
                ("knockoff", "strong"): [40 + seed for seed in SIX],
                ("knockoff", "noisy"): [41 + (-1) ** seed * 3 + seed for seed in SIX],
                ("knockoff", "weak"): [80 + seed for seed in SIX],
            }
        )
    )
    assert [(one.defense, one.rank) for one in standings(matrix)] == [("strong", 1), ("noisy", 1), ("weak", 3)]


def test_divisions_and_classes_are_ranked_apart():
    cheap = table({("knockoff", "cheap"): [90] * 5})
    dear = [
        replace(one, counts={**one.counts, "utility/accuracy": (10, 100), "utility/kept": (20, 100)})
        for one in table({("knockoff", "dear"): [10] * 5})
    ]
    (matrix,) = matrices([*dear, *cheap])
    assert [(one.defense, one.cost.division, one.rank) for one in standings(matrix)] == [
        ("cheap", "free", 1),
        ("dear", "open", 1),
    ]


def test_the_equilibrium_is_over_complete_columns():
    (matrix,) = matrices(
        table({("a", "x"): [40], ("b", "x"): [10], ("a", "y"): [20], ("b", "y"): [30], ("a", "z"): [1]})
    )
    assert equilibrium_shares(matrix) == {"x": pytest.approx(0.25), "y": pytest.approx(0.75)}


def test_players_are_compared_over_paired_seeds_and_corrected():
    (matrix,) = matrices(
        table(
            {
                ("knockoff", "none"): [50, 60, 40, 70, 55],
                ("better", "none"): [52, 63, 41, 74, 57],
                ("same", "none"): [51, 59, 40, 71, 54],
                ("absent", "none"): [None] * 5,
                ("knockoff", "mad"): [40, 50, 30, 60, 45],
            }
        )
    )
    better, same = against_attack(matrix, "knockoff", "none")
    assert better.difference.mean == pytest.approx(0.024)
    assert better.difference.half == pytest.approx(0.014157, abs=5e-6)
    assert better.distinct
    assert not same.distinct
    (mad,) = against_defense(matrix, "none", "knockoff")
    assert mad.difference.mean == pytest.approx(-0.1)
    assert mad.distinct
