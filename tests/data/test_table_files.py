"""A table of your own: what its columns become, and what is refused by their names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from arena.contracts import BadParameter, DataMissing, UsageError
from arena.data.dataset import Dataset
from arena.data.datasets import load
from arena.data.splits import split

pandas = pytest.importorskip("pandas")

ROWS = 24


def columns(**changes: object) -> dict[str, list[object]]:
    random = np.random.default_rng(0)
    values: dict[str, object] = {
        "age": random.integers(18, 90, ROWS).tolist(),
        "income": (random.random(ROWS) * 1e6).tolist(),
        "town": ["Ulm", "Bonn", "Köln"] * (ROWS // 3),
        "member": [True, False] * (ROWS // 2),
        "risk": ["low", "high", "low"] * (ROWS // 3),
        **changes,
    }
    return {name: list(column) for name, column in values.items() if column is not None}  # type: ignore[call-overload]


def written(folder: Path, name: str = "people.csv", **changes: object) -> Path:
    frame = pandas.DataFrame(columns(**changes))
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
        frame.to_parquet(folder / name)
    else:
        frame.to_csv(folder / name, index=False, sep="\t" if name.endswith(".tsv") else ",")
    return folder / name


def read(path: Path, label: str = "risk", drop: tuple[str, ...] = ()) -> Dataset:
    return load(f"table:{path}", label=label, drop=drop)


class TestColumns:
    def test_of_numbers_are_scaled_by_the_training_rows(self, tmp_path: Path):
        splits = split(read(written(tmp_path)))
        training = splits.training[0][:, 1].double()
        assert splits.task.shape == (6,)
        assert float(training.min()) == 0.0
        assert float(training.max()) == 1.0
        assert float(splits.test[0].min()) >= 0.0
        assert float(splits.test[0].max()) <= 1.0

    def test_of_large_numbers_keep_their_differences(self, tmp_path: Path):
        seconds = [1_700_000_000 + number for number in range(ROWS)]
        found = read(written(tmp_path, age=seconds))
        assert len(found.stored[:, 0].unique()) == ROWS
        assert bool(read(written(tmp_path, age=[1e300 * number for number in range(ROWS)])).stored.isfinite().all())

    def test_of_text_are_one_hot_encoded_in_order_of_letters(self, tmp_path: Path):
        towns = read(written(tmp_path)).stored[:, 2:5]
        assert towns[:3].tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]  # Ulm, Bonn, Köln as Bonn, Köln, Ulm

    def test_of_true_and_false_are_one_and_zero(self, tmp_path: Path):
        assert read(written(tmp_path)).stored[:4, 5].tolist() == [1, 0, 1, 0]

    def test_that_are_constant_are_zero(self, tmp_path: Path):
        assert bool((read(written(tmp_path, age=[7] * ROWS)).stored[:, 0] == 0).all())

    def test_that_are_dropped_play_no_part(self, tmp_path: Path):
        path = written(tmp_path, town=[f"street {number}" for number in range(ROWS)], age=[None] * ROWS)
        assert read(path, drop=("town", "age")).shape == (2,)

    def test_are_said_before_the_run(self, tmp_path: Path):
        said = split(read(written(tmp_path))).notes
        assert said[0] == "2 classes: high 8, low 16"
        assert said[1] == "columns: 4, inputs of the victim: 6; one-hot encoded: town (3)"


@pytest.mark.parametrize("name", ["people.parquet", "people.tsv", "people.CSV"])
def test_a_table_is_the_same_in_every_format(name: str, tmp_path: Path):
    first, other = split(read(written(tmp_path))), split(read(written(tmp_path, name)))
    assert first.class_names == other.class_names
    for part in ("training", "validation", "honest", "test"):
        assert all(torch.equal(*pair) for pair in zip(getattr(first, part), getattr(other, part), strict=True))


@pytest.mark.parametrize("separator", [";", "\t"])
def test_the_separator_is_that_of_the_first_line(separator: str, tmp_path: Path):
    pandas.DataFrame(columns()).to_csv(tmp_path / "other.csv", index=False, sep=separator)
    assert torch.equal(read(tmp_path / "other.csv").stored, read(written(tmp_path)).stored)


def test_a_file_of_a_spreadsheet_with_a_byte_order_mark_is_read(tmp_path: Path):
    pandas.DataFrame(columns()).to_csv(tmp_path / "marked.csv", index=False, encoding="utf-8-sig")
    assert read(tmp_path / "marked.csv", label="risk").class_names == ("high", "low")
    assert read(tmp_path / "marked.csv", drop=("age",)).shape == (5,)


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ([2, 10, 1] * (ROWS // 3), ("1", "2", "10")),
        ([2.0, 10.0, 1.0] * (ROWS // 3), ("1", "2", "10")),
        (["b", "a"] * (ROWS // 2), ("a", "b")),
        ([True, False] * (ROWS // 2), ("0", "1")),
    ],
)
def test_classes_are_in_order_of_numbers_or_letters(label: list[object], names: tuple[str, ...], tmp_path: Path):
    found = read(written(tmp_path, risk=label))
    assert found.class_names == names
    assert int(found.labels.max()) == len(names) - 1


def missing(values: list[object], *rows: int) -> list[object]:
    return [None if row in rows else value for row, value in enumerate(values)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"age": missing(columns()["age"], 1, 5)}, r"people.csv has missing values in: age \(2\); .*drop = "),
        (
            {"town": missing(columns()["town"], 1), "risk": missing(columns()["risk"], 2, 3)},
            r"missing values in: town \(1\), risk \(2\)",
        ),
        ({"income": [float("inf"), *[1.0] * (ROWS - 1)]}, r"infinite values in: income \(1\)"),
        ({"risk": [0.5, 1.5] * (ROWS // 2)}, "the label risk of .* has fractions"),
        ({"risk": range(ROWS)}, "the label risk of .* has 24 distinct values in 24 rows"),
        ({"risk": ["low"] * ROWS}, "the label risk of .* has 1 distinct values"),
        ({"Unnamed: 0": range(ROWS)}, r"columns without a name, perhaps row numbers: Unnamed: 0; .*drop"),
    ],
)
def test_columns_that_cannot_be_used_are_named(changes: dict[str, object], said: str, tmp_path: Path):
    with pytest.raises(BadParameter, match=said):
        read(written(tmp_path, **changes))


def test_text_of_too_many_values_is_refused_by_name(tmp_path: Path):
    streets = [f"street {number}" for number in range(40)]
    frame = pandas.DataFrame({"street": streets, "age": range(40), "risk": ["low", "high"] * 20})
    frame.to_csv(tmp_path / "streets.csv", index=False)
    with pytest.raises(BadParameter, match=r"the column street of .* is text with 40 distinct values, and at most 32"):
        read(tmp_path / "streets.csv")
    assert read(tmp_path / "streets.csv", drop=("street",)).shape == (1,)


def test_dates_and_lists_are_refused_by_name(tmp_path: Path):
    dates = pandas.date_range("2020-01-01", periods=ROWS).to_list()
    with pytest.raises(BadParameter, match=r"neither numbers nor text in: age \(values of type datetime64.*drop = "):
        read(written(tmp_path, "people.parquet", age=dates))
    with pytest.raises(BadParameter, match="neither numbers nor text in: age"):
        read(written(tmp_path, "people.parquet", age=[[1, 2]] * ROWS))


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda path: read(path, label=""), BadParameter, "needs the column of its classes, as in label = 'risk'"),
        (
            lambda path: read(path, label="risks"),
            BadParameter,
            r"no column 'risks' for label \(did you mean 'risk'\?\)",
        ),
        (lambda path: read(path, drop=("ages",)), BadParameter, r"no column 'ages' for drop \(did you mean 'age'\?\)"),
        (lambda path: read(path, drop=("risk",)), BadParameter, "cannot be both label and drop"),
        (
            lambda path: read(path, drop=("age", "income", "town", "member")),
            BadParameter,
            "no column besides risk that is not dropped",
        ),
        (lambda path: read(path.with_name("nowhere.csv")), DataMissing, "there is no table .*nowhere.csv"),
        (lambda path: read(path.rename(path.with_suffix(".xlsx"))), BadParameter, r"does not end in \.csv, \.tsv or"),
        (lambda path: load(f"table:{path}", label="risk", side=8), BadParameter, "is a table, so side and grey"),
        (lambda path: load("digits", label="risk"), BadParameter, "label and drop are for tables of your own"),
    ],
)
def test_a_question_that_does_not_fit_is_answered(
    ask: Callable[[Path], object], error: type[UsageError], said: str, tmp_path: Path
):
    with pytest.raises(error, match=said):
        ask(written(tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as a table: it is empty"),
        (b"a,b\n1,2\n1,2,3,4\n", "cannot be read as a table: "),
        (b"a,b\n1,2,3\n1,2,3\n", "more values than its first line has names"),
        ("a,b\n1,Köln\n".encode("latin-1"), "is not UTF-8 text"),
        (b"1,2\n3,4\n", "the first line of .* must name the columns, but it is numbers: 1, 2"),
    ],
)
def test_a_damaged_file_is_named(content: bytes, said: str, tmp_path: Path):
    (tmp_path / "damaged.csv").write_bytes(content)
    with pytest.raises(BadParameter, match=said) as caught:
        read(tmp_path / "damaged.csv", label="b")
    assert "damaged.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_parquet_file_is_named(tmp_path: Path):
    pytest.importorskip("pyarrow")
    path = written(tmp_path, "people.parquet")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadParameter, match=r"people\.parquet cannot be read as a table"):
        read(path)


def test_without_pandas_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = written(tmp_path)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DataMissing, match=r"needs pandas, .* pip install 'model-stealing-arena\[tables\]'"):
        read(path)


def test_an_edited_cell_is_other_data_and_a_copy_elsewhere_is_not(tmp_path: Path):
    first = split(read(written(tmp_path)))
    (tmp_path / "copy").mkdir()
    assert torch.equal(split(read(written(tmp_path / "copy"))).training[0], first.training[0])
    edited = split(read(written(tmp_path, age=[99, *columns()["age"][1:]])))
    rows = [
        torch.cat([part[0] for part in (splits.training, splits.test, splits.honest)]) for splits in (first, edited)
    ]
    assert not torch.equal(*rows)
