import pytest

from arena.payoff.matrix import matrices
from arena.payoff.ranking import attack_standings, cost_of, mixture, standings, told_apart
from tests.payoff.matches import CRASHED, honest, match, over_seeds


def cost(*, lost: int, changed: int, rows: int = 1_000, one_hot: int = 0, l1: float = 0.1):
    counts = honest(lost=lost, changed=changed, rows=rows, one_hot=one_hot)
    return cost_of([match(counts=counts, measures={"utility/l1": l1})])


def test_no_decision_changed_is_free():
    found = cost(lost=0, changed=0)
    assert found.division == "free"
    assert not found.borderline


def test_one_decision_changed_is_not_free_even_if_no_accuracy_is_lost():
    assert cost(lost=0, changed=1).division == "1pt"
    assert cost(lost=-3, changed=5).division == "1pt"


@pytest.mark.parametrize(
    ("lost", "division"), [(9, "1pt"), (10, "1pt"), (11, "5pt"), (50, "5pt"), (51, "open"), (900, "open")]
)
def test_divisions_are_by_points_of_accuracy_lost(lost, division):
    assert cost(lost=lost, changed=lost).division == division


def test_an_interval_that_crosses_a_border_is_marked():
    assert cost(lost=11, changed=11).borderline
    assert not cost(lost=25, changed=25).borderline
    assert not cost(lost=11_000, changed=11_000, rows=1_000_000).borderline


def test_the_interval_of_lost_decisions_is_that_of_a_paired_difference():
    # 30 of 1,000 lost: half = 1.96 sqrt((.03 - .0009) / 1000)
    assert cost(lost=30, changed=30).half == pytest.approx(0.010573, abs=1e-6)


def test_costs_are_pooled_as_integers_over_matches():
    found = cost_of(
        [match(counts=honest(lost=1, changed=1, rows=10)), match(counts=honest(lost=0, changed=0, rows=90))]
    )
    assert found.decisions == pytest.approx(0.01)
    assert (found.changed, found.rows) == (1, 100)


def test_one_hot_or_far_shifted_scores_are_labels_only():
    assert cost(lost=0, changed=0).score_class == "scores kept"
    assert cost(lost=0, changed=0, one_hot=990).score_class == "labels only"
    assert cost(lost=0, changed=0, l1=0.51).score_class == "labels only"


def test_matches_without_honest_rows_have_no_cost():
    assert cost_of([match(), match(verdict=CRASHED)]) is None


def ranks(results) -> dict[str, int]:
    (matrix,) = matrices(results)
    return {one.defense: one.rank for one in standings(matrix)}


SPREAD = [0, 4, -3, 2, -1]


def column(defense: str, level: int, *, lost: int = 0, seeds: int = 5):
    return over_seeds("knockoff", defense, [level + shift for shift in SPREAD[:seeds]], lost=lost)


def test_defenses_are_ranked_by_their_worst_case_within_a_division():
    results = column("strong", 500) + column("weak", 800) + column("costly", 100, lost=40)
    (matrix,) = matrices(results)
    assert [one.defense for one in standings(matrix)] == ["strong", "weak", "costly"]
    assert ranks(results) == {"strong": 1, "weak": 2, "costly": 1}


def test_what_paired_seeds_cannot_tell_apart_shares_a_rank_and_the_next_skips_it():
    noisy = over_seeds("knockoff", "noisy", [590, 420, 560, 480, 470])
    assert ranks(column("steady", 500) + noisy + column("weak", 800)) == {"steady": 1, "noisy": 1, "weak": 3}


def test_a_chain_of_near_neighbours_is_not_one_rank():
    # Each cannot be told from the next, but the third can be told from the first.
    near = over_seeds("knockoff", "near", [502, 520, 485, 515, 500])
    far = over_seeds("knockoff", "far", [515, 518, 510, 516, 512])
    results = column("first", 500) + near + far
    (matrix,) = matrices(results)
    assert not told_apart(matrix, "first", "near")
    assert not told_apart(matrix, "near", "far")
    assert told_apart(matrix, "first", "far")
    assert ranks(results) == {"first": 1, "near": 1, "far": 3}


def test_too_few_seeds_tell_nothing_apart():
    assert ranks(column("strong", 100, seeds=4) + column("weak", 900, seeds=4)) == {"strong": 1, "weak": 1}


def test_attacks_are_ranked_by_the_mean_of_their_own_clones():
    results = [
        result
        for defense, level in (("none", 800), ("label-only", 700))
        for attack, gain in (("knockoff", 0), ("jbda", 100))
        for result in over_seeds(attack, defense, [level + gain + shift for shift in SPREAD])
    ]
    (matrix,) = matrices(results)
    first, second = attack_standings(matrix)
    assert (first.attack, first.rank, second.attack, second.rank) == ("jbda", 1, "knockoff", 2)
    assert first.score.mean == pytest.approx(0.8504)
    assert first.equilibrium_share == pytest.approx(1)


def test_an_attack_counts_where_it_met_every_defense():
    results = over_seeds("knockoff", "none", [900, 100]) + over_seeds("knockoff", "label-only", [700])
    (matrix,) = matrices(results)
    (standing,) = attack_standings(matrix)
    assert standing.score.mean == pytest.approx(0.8)
    assert standing.score.n == 1


def test_an_incomplete_column_stays_out_of_the_equilibrium():
    results = (
        over_seeds("knockoff", "none", [800])
        + over_seeds("jbda", "none", [700])
        + over_seeds("knockoff", "half-played", [100])
        + [match("jbda", "half-played", verdict=CRASHED)]
    )
    (matrix,) = matrices(results)
    mixed = mixture(matrix)
    assert mixed.defenses == {"none": pytest.approx(1)}
    assert mixed.value == pytest.approx(0.8)
