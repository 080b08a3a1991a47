import csv
import io

import pytest

from arena.contracts import Knowledge, UnknownName, Verdict
from arena.report.files import RESULTS_CSV, RESULTS_JSON, read_results, results_csv, write_results, write_whole
from tests.payoff.matches import CRASHED, honest, match

RESULTS = [
    match(counts=honest(lost=1, changed=2), measures={"utility/l1": 0.25}, flags=("timed", "honest rows short")),
    match("jbda", "mad", knowledge=Knowledge(surrogate="random"), verdict=CRASHED),
]


def rows(results) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(results_csv(results))))


def test_results_come_back_as_they_were_written(tmp_path):
    write_results(tmp_path, RESULTS)
    assert read_results(tmp_path) == RESULTS
    assert (tmp_path / RESULTS_CSV).read_text() == results_csv(RESULTS)


def test_a_row_a_match_with_counts_in_two_columns():
    first, second = rows(RESULTS)
    assert (first["attack"], first["defense"], first["seed"]) == ("knockoff", "none", "0")
    assert (first["b/fidelity:hits"], first["b/fidelity:total"]) == ("800", "1000")
    assert (first["utility/kept:hits"], first["utility/l1"], first["payoff"]) == ("998", "0.25", "0.8")
    assert first["flags"] == "timed honest-rows-short"
    assert (second["defense"], second["surrogate"], second["outcome"]) == ("mad", "random", "infrastructure")


def test_what_a_match_does_not_have_stays_empty():
    _, missing = rows(RESULTS)
    assert missing["payoff"] == missing["utility/l1"] == missing["utility/kept:hits"] == ""


def test_a_players_words_stay_in_their_cell():
    words = 'it said "no",\nthen left'
    (row,) = rows([match(verdict=Verdict(outcome="crashed", fault="attack", reason=words))])
    assert row["reason"] == words


def test_no_results_are_a_header():
    assert results_csv([]).startswith("match,victim,")
    assert results_csv([]).count("\n") == 1


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(UnknownName, match=RESULTS_JSON):
        read_results(tmp_path)


def test_a_write_that_fails_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "file"
    write_whole(path, "whole")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "torn \ud800")
    assert path.read_text() == "whole"
