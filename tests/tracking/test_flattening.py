"""What of a result becomes a metric, a param, a tag, and under which name."""

from __future__ import annotations

from dataclasses import replace

from arena.contracts import Confusion, Knowledge, Spec, Verdict
from arena.report.columns import columns_of
from arena.tracking.flattening import (
    LONGEST_PARAM,
    LONGEST_TAG,
    NOT_RECORDED,
    DataSet,
    confusion_table,
    data_sets,
    legal_name,
    metrics,
    params,
    result_name,
    tags,
    title,
    tournament_params,
)
from tests.tracking.matches import MATCHUP, result


def test_divides_counts_and_places_them_at_the_last_row():
    assert metrics(result())["a/fidelity", 390] == 0.75
    assert metrics(result())["b/tv_test", 390] == 0.25
    assert metrics(result())["spent", 390] == 400


def test_places_curve_points_at_their_own_rows():
    steps = {step: value for (name, step), value in metrics(result()).items() if name == "a/fidelity"}
    assert steps == {100: 0.5, 390: 0.75}


def test_leaves_out_a_share_of_nothing():
    assert not [name for name, _ in metrics(result()) if name == "utility/kept"]


def test_replaces_characters_that_mlflow_refuses():
    assert legal_name("acc@1+2/é x:y-z.w_") == "acc_1_2/é x:y-z.w_"
    assert ("threat/mine/acc_1", 390) in metrics(result())


def test_spells_out_the_parameters_of_wrapped_players():
    found = params(result())
    assert {name: value for name, value in found.items() if "/" in name} == {
        "attack/base": "jbda",
        "attack/base/step": "0.1",
        "attack/rounds": "1, 2",
        "defense/epsilon": "0.5",
    }


def test_the_terms_of_a_match_are_params_by_which_matches_are_found_and_grouped():
    found = params(result())
    assert found["victim"] == "digits(arch=small-cnn)"
    assert found["attack"] == "argmax(base=jbda(step=0.1), rounds=(1, 2))"
    assert found["defense"] == "mad(epsilon=0.5)"
    assert (found["pool"], found["budget"], found["seed"]) == ("near", "400", "3")
    assert (found["surrogate"], found["informed"]) == ("random", "false")
    assert "pool_source" not in found


def test_params_and_metrics_have_the_names_and_values_of_the_columns_of_the_table():
    columns = {column.name: column.of(result()) for column in columns_of([result()])}
    terms = {name: value for name, value in params(result()).items() if "/" not in name}
    assert {name: str(columns[name]).lower() for name in terms} == {
        name: value.lower() for name, value in terms.items()
    }
    shown = {name: value for (name, step), value in metrics(result()).items() if step == 390}
    del shown["threat/mine/acc_1"]  # MLflow refuses the character @
    assert {name: columns[name] for name in shown} == shown


def test_a_place_on_a_disk_is_in_no_title_and_no_name_of_a_param():
    entry = Spec(name="/home/somebody/agents/mine", params=(("base", Spec(name="/home/somebody/agents/other")),))
    placed = replace(result(), matchup=replace(MATCHUP, attack=entry))
    assert title(placed) == "mine(other) vs mad(epsilon=0.5), seed 3, 400 rows"
    assert not [word for pair in params(placed).items() for word in pair if "/home" in word]


def test_tags_what_came_of_a_match():
    given = tags(result())
    assert given["verdict"] == "completed"
    assert given["flags"] == "leak, timed"
    assert "reason" not in given


def test_leaves_out_values_that_are_not_finite_and_names_them():
    broken = replace(result(), measures={"b/tv_test": float("nan"), "utility/l1": float("inf"), "attack/steps": 1.0})
    names = {name for name, _ in metrics(broken)}
    assert "attack/steps" in names
    assert not {"b/tv_test", "utility/l1"} & names
    assert tags(broken)["not_finite"] == "b/tv_test, utility/l1"


def test_a_missing_match_has_no_payoff():
    lost = replace(result(), verdict=Verdict(outcome="infrastructure", fault="arena"))
    assert not [name for name, _ in metrics(lost) if name in ("payoff", "own_score")]
    assert metrics(result())["payoff", 390] == 0.75


def test_names_the_data_of_a_match_with_the_digests_of_its_run_folder():
    knowing = replace(result(), matchup=replace(MATCHUP, knowledge=Knowledge(outliers="far")))
    digests = {"the data of digits(arch=small-cnn)": "1a", "the pool near": "2b", "the outliers far": "3c"}
    assert data_sets(knowing, digests) == [
        DataSet(name="digits", digest="1a", context="victim"),
        DataSet(name="digits, pool near", digest="2b", context="pool"),
        DataSet(name="digits, outliers far", digest="3c", context="outliers"),
    ]
    assert {one.digest for one in data_sets(result(), {})} == {NOT_RECORDED}


def test_the_confusions_of_a_clone_are_a_table():
    found = confusion_table(
        replace(result(), confusion=Confusion(track="b", classes=2, victim=(3, 1, 0, 4), labels=(2, 2, 1, 3)))
    )
    assert found.columns == ("by", "class", "clone 0", "clone 1")
    assert found.rows == (
        ("victim decides", 0, 3, 1),
        ("victim decides", 1, 0, 4),
        ("labelled", 0, 2, 2),
        ("labelled", 1, 1, 3),
    )
    assert confusion_table(result()) is None


def test_the_terms_of_a_tournament_are_read_from_its_file():
    config = """
    name = "small"
    budgets = [100, 400]
    attacks = ["knockoff", { name = "argmax", base = { name = "jbda" } }, { path = "agents/mine" }]
    recipe = { steps = 500 }
    """
    assert tournament_params(config) == {
        "name": "small",
        "budgets": "100, 400",
        "attacks": "knockoff, argmax, mine",
        "recipe": "steps = 500",
    }
    assert tournament_params("no TOML") == {}


def test_shortens_what_mlflow_would_cut_with_a_warning():
    crashed = replace(result(), verdict=Verdict(outcome="crashed", fault="attack", reason="x" * 9_000))
    assert len(tags(crashed)["reason"]) == LONGEST_TAG
    wordy = Spec(name="wordy", params=(("text", "x" * 9_000),))
    assert len(params(replace(result(), matchup=replace(MATCHUP, attack=wordy)))["attack/text"]) == LONGEST_PARAM


def test_names_a_result_by_key_and_attempt():
    assert result_name(result(key="abc", attempt=2)) == "abc-2"
    assert result_name(result(seed=1)) != result_name(result(seed=2))


def test_titles_a_match_for_people():
    assert title(result()) == "argmax(jbda) vs mad(epsilon=0.5), seed 3, 400 rows"
