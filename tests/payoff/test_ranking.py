from dataclasses import replace

import pytest

from arena.contracts.flags import COST_NOT_RANKED, LEAK
from arena.payoff.comparison import worst_cases_against
from arena.payoff.matrix import matrices
from arena.payoff.mixture import mixture
from arena.payoff.ranking import attack_group, defense_groups, set_apart, strongest_defense
from tests.payoff.matches import CRASHED, honest, match, over_seeds

SPREAD = [0, 4, -3, 2, -1]


def only(results):
    (matrix,) = matrices(results)
    return matrix


def ranks(results) -> dict[str, str]:
    groups = defense_groups(only(results))
    return {one.defense: str(one.ranks) for group in groups for one in group.standings}


def column(defense: str, level: int, *, lost: int = 0, seeds: int = 5, attack: str = "knockoff"):
    return over_seeds(attack, defense, [level + shift for shift in SPREAD[:seeds]], lost=lost)


def test_defenses_are_ranked_by_their_worst_case_within_a_division():
    results = column("strong", 500) + column("weak", 800) + column("costly", 100, lost=40)
    free, cheap = defense_groups(only(results))
    assert (free.division, free.score_class, free.seeds) == ("free", "scores kept", 5)
    assert [one.defense for one in free.standings] == ["strong", "weak"]
    assert [one.defense for one in cheap.standings] == ["costly"]
    assert ranks(results) == {"strong": "1", "weak": "2", "costly": "1"}


def test_what_paired_seeds_cannot_tell_apart_shares_its_ranks():
    noisy = over_seeds("knockoff", "noisy", [590, 420, 560, 480, 470])
    found = ranks(column("steady", 500) + noisy + column("weak", 900))
    assert found == {"steady": "1-2", "noisy": "1-2", "weak": "3"}


def test_equal_defenses_are_ordered_by_name_and_share_all_ranks():
    results = column("second", 500) + column("first", 500) + column("third", 500)
    (group,) = defense_groups(only(results))
    assert [one.defense for one in group.standings] == ["first", "second", "third"]
    assert {str(one.ranks) for one in group.standings} == {"1-3"}
    assert group.resolved is None


def test_the_better_of_the_numbers_that_are_sorted_has_the_better_rank():
    # On each seed the lucky attack's maximum is higher, so that by maxima `steady` would be the better defense.
    results = [
        *over_seeds("first", "divided", [700, 500, 700, 500, 700]),
        *over_seeds("second", "divided", [500, 700, 500, 700, 500]),
        *over_seeds("first", "steady", [660, 664, 657, 662, 659]),
        *over_seeds("second", "steady", [100, 104, 97, 102, 99]),
    ]
    (group,) = defense_groups(only(results))
    assert [one.defense for one in group.standings] == ["divided", "steady"]
    assert [one.ranks.first for one in group.standings] == [1, 1]
    assert group.standings[0].worst_case.interval.mean == pytest.approx(0.62)


def test_four_seeds_rank_nobody():
    (group,) = defense_groups(only(column("strong", 100, seeds=4) + column("weak", 900, seeds=4)))
    assert [one.defense for one in group.standings] == ["strong", "weak"]
    assert [one.ranks for one in group.standings] == [None, None]
    assert group.resolved is None
    attacks = attack_group(only(column("none", 100, seeds=4)))
    assert [one.ranks for one in attacks.standings] == [None]


def test_a_group_is_compared_over_the_seeds_that_all_of_it_have():
    results = column("strong", 500)[:4] + column("weak", 800)
    (group,) = defense_groups(only(results))
    assert group.seeds == 4
    assert [len(one.worst_case.values) for one in group.standings] == [4, 4]
    assert [one.ranks for one in group.standings] == [None, None]


def test_a_group_without_a_common_seed_stands_unranked():
    lost = [match(defense="weak", seed=seed, verdict=CRASHED, counts=honest(lost=0, changed=0)) for seed in range(3)]
    weak = [one for one in column("weak", 800) if one.matchup.seed > 2]
    (group,) = defense_groups(only(column("strong", 500)[:3] + lost + weak))
    assert group.seeds == 0
    assert [one.ranks for one in group.standings] == [None, None]


def test_the_choice_of_the_worst_attack_is_paid_for():
    # Alone the difference of 5 points is clear; among four attacks that may as well be the worst it is not.
    strong = column("strong", 700)
    weak = over_seeds("knockoff", "weak", [750, 765, 735, 745, 755])
    alone = ranks(strong + weak)
    others = [
        one
        for number, spread in enumerate(
            ([765, 735, 750, 755, 744], [735, 750, 765, 744, 755], [744, 755, 735, 765, 750])
        )
        for one in [*over_seeds(f"attack-{number}", "weak", spread), *column("strong", 100, attack=f"attack-{number}")]
    ]
    crowded = only(strong + weak + others)
    assert alone == {"strong": "1", "weak": "2"}
    assert crowded.worst_case("weak").near == 4
    one, two = (worst_cases_against(matrix, "strong")[0] for matrix in (only(strong + weak), crowded))
    assert two.p_value == pytest.approx(4 * one.p_value)


def attacks():
    return [
        result
        for defense, level in (("none", 800), ("label-only", 700))
        for attack, gain in (("knockoff", 0), ("jbda", 100))
        for result in over_seeds(attack, defense, [level + gain + shift for shift in SPREAD])
    ]


def test_attacks_are_ranked_by_the_mean_of_their_own_clones():
    group = attack_group(only(attacks()))
    first, second = group.standings
    assert (first.attack, str(first.ranks), second.attack, str(second.ranks)) == ("jbda", "1", "knockoff", "2")
    assert first.score.mean == pytest.approx(0.8504)


def test_what_a_group_resolves_is_stated_after_the_control_of_its_errors():
    # The differences are 10 points on each seed: floor sqrt(.1 / 2,000) = .00707; one pair, t(4) = 2.7764.
    assert attack_group(only(attacks())).resolved == pytest.approx(2.7764 * 0.0070711 / 5**0.5, abs=1e-6)


def test_an_attack_counts_where_all_of_them_met_every_defense():
    results = over_seeds("knockoff", "none", [900, 100]) + over_seeds("knockoff", "label-only", [700])
    group = attack_group(only(results))
    (standing,) = group.standings
    assert group.seeds == 1
    assert standing.score.mean == pytest.approx(0.8)


def test_attacks_with_equal_scores_are_ordered_by_name():
    results = column("none", 500, attack="b") + column("none", 500, attack="a")
    assert [one.attack for one in attack_group(only(results)).standings] == ["a", "b"]


def test_the_strongest_defense_is_named_with_an_interval_that_allows_for_the_choice():
    matrix = only(column("none", 900) + column("first", 500) + column("second", 501))
    found = strongest_defense(matrix, ["first", "second"])
    assert found.defense == "first"
    alone = matrix.worst_case("first").interval
    assert found.interval.low == pytest.approx(alone.low)
    assert found.interval.high > alone.high
    assert strongest_defense(matrix, []) is None


def test_a_leaked_defense_is_set_apart_and_moves_no_rank():
    clean = column("strong", 500) + column("weak", 800)
    leaked = [replace(one, flags=(LEAK,)) for one in column("leaky", 100)]
    before, after = only(clean), only(clean + leaked)
    assert ranks(clean + leaked) == ranks(clean)
    assert [(one.defense, one.ranks) for one in set_apart(after)] == [("leaky", None)]
    assert set_apart(before) == ()
    assert attack_group(after) == attack_group(before)
    assert strongest_defense(after, after.defenses).defense == "strong"
    assert "leaky" not in mixture(after).defenses


def test_a_defense_whose_cost_is_not_ranked_has_no_rank_but_counts_for_attacks():
    hidden = [replace(one, flags=(COST_NOT_RANKED,)) for one in column("hidden", 100)]
    matrix = only(column("strong", 500) + hidden)
    assert [one.defense for one in set_apart(matrix)] == ["hidden"]
    assert ranks(column("strong", 500) + hidden) == {"strong": "1"}
    assert attack_group(matrix).standings[0].score.mean == pytest.approx(0.3004)
