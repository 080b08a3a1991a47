from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from arena.contracts import UnknownName
from arena.report.files import RESULTS_CSV, RESULTS_JSON, read_results, results_csv, write_results, write_whole
from tests.payoff.results import result, table

RESULTS = table({("knockoff", "none"): [50, None], ("knockoff", "mad"): [40, 30]})


def test_results_come_back_as_they_were_written(tmp_path: Path):
    write_results(tmp_path, RESULTS)
    assert read_results(tmp_path) == RESULTS
    assert len(json.loads((tmp_path / RESULTS_JSON).read_text())) == 4
    assert (tmp_path / RESULTS_CSV).read_text() == results_csv(RESULTS)


def test_a_folder_without_results_is_no_run_folder(tmp_path: Path):
    with pytest.raises(UnknownName, match="is no run folder"):
        read_results(tmp_path)


def test_a_row_of_csv_is_a_match_and_what_it_lacks_is_empty():
    rows = list(csv.DictReader(io.StringIO(results_csv(RESULTS))))
    assert [(row["attack"], row["defense"], row["seed"]) for row in rows] == [
        ("knockoff", "none", "0"),
        ("knockoff", "none", "1"),
        ("knockoff", "mad", "0"),
        ("knockoff", "mad", "1"),
    ]
    assert (rows[0]["a/fidelity:hits"], rows[0]["a/fidelity:total"], rows[0]["payoff"]) == ("50", "100", "0.5")
    assert (rows[1]["a/fidelity:hits"], rows[1]["payoff"], rows[1]["outcome"]) == ("", "", "infrastructure")


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "file"
    write_whole(path, "old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_whole(path, "new")
    assert path.read_text() == "old"


def test_no_results_are_a_header():
    assert len(results_csv([]).splitlines()) == 1
    assert results_csv([result("knockoff", "none", 5)]).endswith("\n")
