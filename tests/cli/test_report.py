"""``arena report``: everything that it writes, from a run folder in whatever state."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import matchup_id
from arena.referee.journal import JOURNAL, Journal
from arena.referee.tournament_file import read_tournament
from arena.runs.folder import SETTINGS, TOURNAMENT
from tests.cli.arena import Arena
from tests.cli.test_bad_input import TOURNAMENT as TINY
from tests.payoff.matches import by_image, honest, match
from tests.runs.test_record import TOML

COUNTS = {**honest(lost=1, changed=1), "a/fidelity": (900, 1_000), "a/accuracy": (880, 1_000)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with two of three matches, as if it were still being played."""
    run = tmp_path / "run"
    run.mkdir()
    (run / TOURNAMENT).write_text(TOML)
    planned = read_tournament(run / TOURNAMENT).matchups()
    (run / SETTINGS).write_text(json.dumps({"versions": {}, "matchups": [matchup_id(one) for one in planned]}))
    journal = Journal(run)
    for one in planned[:2]:
        journal.append(replace(match(counts=COUNTS, outcomes=by_image(lost=1)), matchup=one))
    return run


def test_html_goes_into_the_run_folder_or_where_it_is_told(arena: Arena, folder: Path, tmp_path: Path):
    assert arena("report", folder, "--html").code == 0
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    arena("report", folder, "--html", tmp_path / "mine.html")
    assert (tmp_path / "mine.html").read_text() == (folder / "report.html").read_text()


def test_a_file_without_html_is_a_mistake(arena: Arena, folder: Path):
    ended = arena("report", folder, "mine.html")
    assert ended.code == 2
    assert "--html mine.html" in ended.err


def test_csv_latex_and_markdown_are_printed_and_nothing_else(arena: Arena, folder: Path):
    rows = list(csv.DictReader(io.StringIO(arena("report", folder, "--csv").out)))
    assert [row["payoff"] for row in rows] == ["0.9", "0.9"]
    assert "\\toprule" in arena("report", folder, "--latex").out
    assert arena("report", folder, "--markdown").out.startswith("# Tournament small")


def test_figures_and_tables_come_from_one_command(arena: Arena, folder: Path, tmp_path: Path):
    ended = arena("report", folder, "--latex", "--figures", tmp_path / "figures")
    assert "\\toprule" in ended.out
    assert (tmp_path / "figures" / "matrix.svg").exists()
    assert (tmp_path / "figures" / "matrix.pdf").exists()


def test_tables_say_how_many_matches_are_missing(arena: Arena, folder: Path):
    assert "1 of 3 matches are missing" in arena("report", folder).out


def test_a_folder_that_was_cut_off_is_still_reported(arena: Arena, folder: Path):
    with (folder / JOURNAL).open("a") as file:
        file.write('{"matchup"')
    (folder / SETTINGS).unlink()
    ended = arena("report", folder, "--html")
    assert ended.code == 0
    assert "cut off while it was written" in ended.err
    assert "cut off while it was written" in (folder / "report.html").read_text()


def test_rows_become_days_with_a_rate(arena: Arena, folder: Path):
    assert "days" in arena("report", folder, "--markdown", "--rows-per-day", "50").out
    assert arena("report", folder, "--markdown", "--rows-per-day", "0").code == 2


def test_a_run_ends_with_its_report_in_its_folder(arena: Arena):
    Path("t.toml").write_text(TINY)
    ended = arena("run", "t.toml", "--runner", "local", "--mlflow", "none", "--out", "run")
    assert ended.code == 0
    assert "Files: run/report.html, results.json" in ended.out
    report = Path("run/report.html").read_text()
    assert "Complete: 1 of 1 matches have a result." in report
    assert '"picture":"iVBOR' in report
