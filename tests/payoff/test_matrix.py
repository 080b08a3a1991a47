import pytest

from arena.contracts import Knowledge, Spec
from arena.payoff.matrix import PayoffMatrix, bare_label, defense_label, label, matrices, own_score, payoff
from tests.payoff.matches import CRASHED, match, over_seeds

WRAPPED = Spec(name="argmax", params=(("base", Spec(name="knockoff", params=(("steps", 500),))),))


def only(results) -> PayoffMatrix:
    (matrix,) = matrices(results)
    return matrix


def test_a_payoff_is_the_largest_fidelity_of_the_three_tracks():
    tracks = {"a/fidelity": (820, 1_000), "a-hard/fidelity": (810, 1_000)}
    assert payoff(match(fidelity=800, counts=tracks)) == 0.82
    assert payoff(match(fidelity=830, counts=tracks)) == 0.83
    assert payoff(match(fidelity=800, counts={**tracks, "a-hard/fidelity": (900, 1_000)})) == 0.9


def test_a_copy_of_what_is_served_pays_as_much_as_a_copy_of_the_victim():
    served = {"b/fidelity_deployed": (990, 1_000)}
    assert payoff(match(fidelity=800, counts=served)) == own_score(match(fidelity=800, counts=served)) == 0.99
    assert payoff(match(fidelity=995, counts=served)) == 0.995


def test_an_attack_that_got_no_answer_has_the_floor():
    assert payoff(match(fidelity=None)) == own_score(match(fidelity=None)) == 0.1


def test_an_attack_without_a_clone_is_scored_by_what_its_answers_were_worth():
    tracks = {"a/fidelity": (700, 1_000), "a-hard/fidelity": (900, 1_000)}
    assert own_score(match(fidelity=None, counts=tracks)) == 0.7
    assert own_score(match(fidelity=300, counts=tracks)) == 0.3


def test_a_match_lost_to_the_infrastructure_is_missing_not_zero():
    assert payoff(match(verdict=CRASHED)) is None
    matrix = only([match(seed=0), match(seed=1, verdict=CRASHED), match(attack="jbda", verdict=CRASHED)])
    assert matrix.cell("knockoff", "none").n == 1
    assert matrix.cell("jbda", "none") is None


def test_a_cell_is_a_mean_over_seeds_with_its_interval():
    cell = only(over_seeds("knockoff", "none", [810, 820, 830, 840, 850])).cell("knockoff", "none")
    assert cell.mean == pytest.approx(0.83)
    assert cell.half == pytest.approx(2.776 * 0.015811 / 5**0.5, abs=1e-5)


def test_three_seeds_have_an_approximate_interval_once_six_cells_share_a_variance():
    results = [
        one
        for number in range(6)
        for one in over_seeds(f"attack-{number}", "none", [800 + number, 820 + number, 810 + number])
    ]
    cells = only(results).cells
    assert all(
        cell.approximate and cell.half == pytest.approx(4.3027 * 0.01 / 3**0.5, abs=1e-5) for cell in cells.values()
    )
    assert all(cell.half is None for cell in only(results[:15]).cells.values())


def test_the_worst_case_is_the_largest_mean_and_names_its_attack():
    # On each seed the maximum is .9, .81 and .82; the mean of the steady attack is the largest.
    results = over_seeds("lucky", "none", [900, 700, 700]) + over_seeds("steady", "none", [800, 810, 820])
    worst = only(results).worst_case("none")
    assert worst.attack == "steady"
    assert worst.interval.mean == pytest.approx(0.81)
    assert worst.values == {0: 0.8, 1: 0.81, 2: 0.82}
    assert worst.interval.half is None


def test_the_interval_of_the_worst_case_allows_for_the_choice_of_the_attack():
    results = over_seeds("first", "none", [700, 720, 740, 700, 740]) + over_seeds(
        "second", "none", [730, 710, 700, 760, 700]
    )
    worst = only(results).worst_case("none")
    assert (worst.attack, worst.near) == ("first", 2)
    assert worst.interval.low == pytest.approx(0.6887, abs=1e-4)
    assert worst.interval.high == pytest.approx(0.7517, abs=1e-4)


def test_the_worst_case_of_one_seed_is_its_maximum():
    results = over_seeds("knockoff", "none", [700]) + over_seeds("jbda", "none", [800])
    assert only(results).worst_case("none").interval.mean == 0.8


def test_a_worst_case_is_over_the_seeds_that_all_its_attacks_have():
    results = over_seeds("knockoff", "none", [700, 710, 720]) + over_seeds("jbda", "none", [800, 600])
    worst = only(results).worst_case("none")
    assert worst.attack == "knockoff"
    assert worst.values == {0: 0.7, 1: 0.71}
    assert only(results).seeds == 3


def test_a_payoff_is_a_share_of_so_many_test_images():
    assert only([match()]).images == 1_000
    assert only([match(fidelity=None, counts={"floor/fidelity": (40, 400)})]).images == 400


def test_an_informed_attack_is_a_row_of_its_own_in_the_same_matrix():
    results = [match("recovery", fidelity=700), match("recovery", fidelity=900, informed=True)]
    matrix = only(results)
    assert matrix.attacks == ("recovery", "recovery +informed")
    assert matrix.informed == {"recovery +informed"}
    assert matrix.worst_case("none").interval.mean == 0.9
    assert matrix.worst_case("none", attacks=["recovery"]).interval.mean == 0.7


def test_rows_of_different_budgets_are_never_in_one_matrix():
    first = match()
    second = match()
    object.__setattr__(second.matchup, "budget", 400)
    assert [matrix.setting.budget for matrix in matrices([first, second])] == [100, 400]


def test_labels_are_written_as_a_reader_writes_them():
    assert label(WRAPPED) == "argmax(base=knockoff(steps=500))"
    assert bare_label(WRAPPED) == "argmax(knockoff)"
    assert label(Spec(name="/home/me/agents/mine/")) == "mine"


def test_what_a_defense_knows_beyond_the_least_is_in_its_label():
    mad = Spec(name="mad", params=(("epsilon", 0.5),))
    assert defense_label(mad, Knowledge(surrogate="random")) == "mad(epsilon=0.5)"
    assert defense_label(mad, Knowledge(surrogate="attacker")) == "mad(epsilon=0.5) +attacker"
    ensemble = Spec(name="diverse-ensemble")
    labels = [defense_label(ensemble, Knowledge(outliers=kind)) for kind in ("none", "far", "near", "pool")]
    assert labels == [f"diverse-ensemble{known}" for known in ("", " +far", " +near", " +pool")]


def test_a_name_is_short_only_where_it_still_tells_players_apart():
    mild, strong = (Spec(name="mad", params=(("epsilon", epsilon),)) for epsilon in (0.1, 1.0))
    matrix = only([match(WRAPPED, defense) for defense in (mild, strong, "none")])
    assert matrix.short("argmax(base=knockoff(steps=500))") == "argmax(knockoff)"
    assert matrix.short("mad(epsilon=0.1)") == "mad(epsilon=0.1)"
    assert matrix.short("none") == "none"


def test_what_a_defense_knows_is_left_out_only_where_another_knows_the_same():
    mild, strong = (Spec(name="mad", params=(("epsilon", epsilon),)) for epsilon in (0.1, 1.0))
    attacker, none = Knowledge(surrogate="attacker"), Knowledge()
    alone = only([match(defense=mild, knowledge=attacker)])
    assert [alone.short(one) for one in alone.defenses] == ["mad"]
    knowing = only([match(defense=mild, knowledge=known) for known in (attacker, none)])
    assert [knowing.short(one) for one in knowing.defenses] == ["mad +attacker", "mad"]
    stronger = only([match(defense=defense, knowledge=attacker) for defense in (mild, strong)])
    assert [stronger.short(one) for one in stronger.defenses] == ["mad(epsilon=0.1)", "mad(epsilon=1.0)"]
    both = only([match(defense=defense, knowledge=known) for defense in (mild, strong) for known in (attacker, none)])
    assert both.short("mad(epsilon=0.1) +attacker") == "mad(epsilon=0.1) +attacker"


def test_a_player_is_found_by_its_name_whatever_its_parameters():
    knockoff = Spec(name="knockoff", params=(("steps", 500),))
    matrix = only([match(WRAPPED), match(knockoff)])
    assert matrix.named("knockoff") == "knockoff(steps=500)"
    assert matrix.named("jbda") is None


def test_entries_in_folders_of_the_same_name_have_a_row_each():
    (found,) = matrices([
        match(Spec(name="/a/mine"), fidelity=700),
        match(Spec(name="/b/mine"), fidelity=900),
        match(Spec(name="/b/mine"), fidelity=910, seed=1),
    ])  # fmt: skip
    assert found.attacks == ("mine", "mine (2)")
    assert [found.short(attack) for attack in found.attacks] == ["mine", "mine (2)"]
    assert found.payoffs["mine", "none"] == {0: 0.7}
    assert found.payoffs["mine (2)", "none"] == {0: 0.9, 1: 0.91}
