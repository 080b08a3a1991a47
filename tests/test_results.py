import csv
import importlib
from pathlib import Path

import pytest

import arena
from arena.contracts import UsageError
from arena.report.files import RESULTS_CSV, write_results
from tests.payoff.matches import CRASHED, honest, match

pandas = pytest.importorskip("pandas", reason="the extra tables is not installed")

RESULTS = [
    match(counts=honest(lost=1, changed=2), measures={"utility/l1": 0.25}),
    match("jbda", "mad", verdict=CRASHED),
]


def test_a_match_is_a_row_of_typed_columns(tmp_path: Path):
    write_results(tmp_path, RESULTS)
    frame = arena.results(tmp_path)
    assert list(frame["attack"]) == ["knockoff", "jbda"]
    assert frame.loc[0, "payoff"] == 0.8
    assert pandas.isna(frame.loc[1, "payoff"])
    assert pandas.isna(frame.loc[1, "utility/l1"])
    dtypes = {name: str(frame[name].dtype) for name in ("attack", "budget", "payoff", "utility/kept:hits", "informed")}
    assert dtypes == {
        "attack": "string",
        "budget": "Int64",
        "payoff": "Float64",
        "utility/kept:hits": "Int64",
        "informed": "boolean",
    }


def test_the_csv_of_the_run_has_the_same_columns(tmp_path: Path):
    write_results(tmp_path, RESULTS)
    with (tmp_path / RESULTS_CSV).open() as file:
        assert next(csv.reader(file)) == list(arena.results(tmp_path).columns)


def test_every_column_is_described(tmp_path: Path):
    write_results(tmp_path, RESULTS)
    frame = arena.results(str(tmp_path))
    assert list(frame.attrs["columns"]) == list(frame.columns)
    assert all(frame.attrs["columns"].values())


def test_without_pandas_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_pandas(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", no_pandas)
    with pytest.raises(UsageError, match=r"model-stealing-arena\[tables\]"):
        arena.results(tmp_path)
