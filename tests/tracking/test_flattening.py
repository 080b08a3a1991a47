"""What of a result becomes a metric, a param, a tag, and under which name."""

from __future__ import annotations

from dataclasses import replace

from arena.contracts import Spec, Verdict
from arena.tracking.flattening import LONGEST_PARAM, LONGEST_TAG, legal_name, metrics, params, result_name, tags, title
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
    assert params(result()) == {
        "attack/base": "jbda",
        "attack/base/step": "0.1",
        "attack/rounds": "1, 2",
        "defense/epsilon": "0.5",
    }


def test_tags_what_results_are_filtered_by():
    given = tags(result())
    expected = {"attack": "argmax", "defense": "mad", "victim": "digits", "seed": "3", "budget": "400", "pool": "near"}
    assert expected.items() <= given.items()
    assert given["verdict"] == "completed"
    assert given["flags"] == "leak, timed"
    assert "reason" not in given


def test_shortens_what_mlflow_would_cut_with_a_warning():
    crashed = replace(result(), verdict=Verdict(outcome="crashed", fault="attack", reason="x" * 9_000))
    assert len(tags(crashed)["reason"]) == LONGEST_TAG
    wordy = Spec(name="wordy", params=(("text", "x" * 9_000),))
    assert len(params(replace(result(), matchup=replace(MATCHUP, attack=wordy)))["attack/text"]) == LONGEST_PARAM


def test_names_a_result_by_key_and_attempt():
    assert result_name(result(key="abc", attempt=2)) == "abc-2"
    assert result_name(result(seed=1)) != result_name(result(seed=2))


def test_titles_a_match_for_people():
    assert title(result()) == "argmax vs mad, 400 queries, seed 3"
