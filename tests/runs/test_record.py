import json
from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import MatchResult, UnknownName, matchup_id, to_json
from arena.referee.journal import JOURNAL, Journal
from arena.referee.tournament_file import read_tournament
from arena.report.files import RESULTS_JSON, write_results
from arena.runs.folder import SETTINGS, TOURNAMENT
from arena.runs.record import read_record
from tests.payoff.matches import match

TOML = """
name = "small"
victims = ["digits"]
attacks = ["knockoff"]
defenses = ["none"]
pools = ["same"]
budgets = [100]
seeds = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder in which two of three matches are finished."""
    (tmp_path / TOURNAMENT).write_text(TOML)
    planned = read_tournament(tmp_path / TOURNAMENT).matchups()
    names = [matchup_id(one) for one in planned]
    (tmp_path / SETTINGS).write_text(json.dumps({"versions": {"arena": "0.1"}, "matchups": names}))
    journal = Journal(tmp_path)
    for one in reversed(planned[:2]):
        journal.append(replace(match(), matchup=one))
    return tmp_path


def seeds(results: tuple[MatchResult, ...]) -> list[int]:
    return [result.matchup.seed for result in results]


def test_results_are_in_the_order_of_the_tournament_and_missing_matches_are_named(folder: Path):
    record = read_record(folder)
    assert (record.name, record.planned, record.left, record.problems) == ("small", 3, 1, ())
    assert seeds(record.results) == [0, 1]
    assert [one.seed for one in record.missing] == [2]
    assert record.versions == {"arena": "0.1"}


def test_a_line_that_was_cut_off_is_told(folder: Path):
    with (folder / JOURNAL).open("a") as file:
        file.write('{"matchup": {"vic')
    record = read_record(folder)
    assert seeds(record.results) == [0, 1]
    assert record.problems == (
        f"The last line of {JOURNAL} was cut off while it was written, so its match has no result.",
    )


def test_a_line_of_another_version_is_told_and_the_others_are_kept(folder: Path):
    first, second = (folder / JOURNAL).read_text().splitlines()
    (folder / JOURNAL).write_text(f"{first}\n{json.dumps({**json.loads(second), 'colour': 'red'})}\n")
    record = read_record(folder)
    assert len(record.results) == 1
    assert record.left == 2
    assert "Line 2" in record.problems[0]
    assert "colour" in record.problems[0]


def test_without_settings_what_is_planned_is_unknown(folder: Path):
    (folder / SETTINGS).unlink()
    record = read_record(folder)
    assert (record.planned, len(record.results), record.versions) == (2, 2, {})
    assert SETTINGS in record.problems[0]


def test_results_that_nobody_planned_are_included(folder: Path):
    Journal(folder).append(match("jbda", seed=7))
    record = read_record(folder)
    assert sorted(seeds(record.results)) == [0, 1, 7]
    assert "does not list 1 of the results" in record.problems[0]


def test_a_folder_with_an_export_only_is_read_too(tmp_path: Path):
    write_results(tmp_path, [match(), match(seed=1)])
    stored = json.loads((tmp_path / RESULTS_JSON).read_text())
    (tmp_path / RESULTS_JSON).write_text(json.dumps([*stored, {"matchup": 3}]))
    record = read_record(tmp_path)
    assert seeds(record.results) == [0, 1]
    assert "Result 3" in record.problems[1]


def test_a_folder_without_any_result_is_refused(tmp_path: Path):
    with pytest.raises(UnknownName, match="no finished match yet"):
        read_record(tmp_path)
    (tmp_path / RESULTS_JSON).write_text(json.dumps(to_json(())))
    with pytest.raises(UnknownName):
        read_record(tmp_path)
