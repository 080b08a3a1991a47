"""A table of your own: a CSV, TSV or Parquet file with one column of classes; pandas reads it.

Columns of numbers and of true and false are scaled to [0, 1] by the training rows, when the table is split. Columns of text
become one column of zeros and ones for each of their values (one-hot encoding). Nothing is filled in or guessed.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from arena.contracts import BadParameter, DataMissing, nearest
from arena.data.dataset import Dataset
from arena.data.own_paths import own_path

TABLE = "table:"
ENDINGS = (".csv", ".tsv", ".parquet")

MAX_VALUES = 32
"""A column of text with more distinct values than this is refused: it is a name or a sentence rather than a category."""

EXTRA = "model-stealing-arena[tables]"

_SEPARATORS = ",;\t"
_SHOWN = 8  # columns in a message


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """A column of N rows, as numbers or as text; ``refused`` says why it can be neither."""

    name: str
    missing: int  # rows without a value
    numbers: npt.NDArray[np.float64] | None = None
    texts: tuple[str, ...] | None = None
    refused: str = ""


def load_table(name: str, *, folder: Path | None, label: str, drop: tuple[str, ...] = ()) -> Dataset:
    """Return the rows of ``table:PATH``, with the classes of the column ``label`` and without the columns ``drop``.

    A relative path starts at the working directory, or else at the data ``folder``. Raises `DataMissing` if there is no
    such file or pandas is not installed, and `BadParameter`, with the columns' names, for what no victim can be made of.
    """
    path = own_path(name, folder=folder)
    columns = {column.name: column for column in _read(path)}
    _check_names(path, columns, label=label, drop=drop)
    kept = [column for column in columns.values() if column.name not in drop]
    _check_columns(path, kept)
    classes, labels = _classes(path, columns[label])
    features = [column for column in kept if column.name != label]
    if not features:
        message = (
            f"{path} has no column besides {label}{' that is not dropped' if drop else ''}: nothing to classify by"
        )
        raise BadParameter(message)
    encoded = [part for column in features for part in _encoded(path, column)]
    return Dataset(
        name=f"{TABLE}{path.stem}",  # not the path, so that a copy elsewhere or of another type is split in the same way
        stored=torch.from_numpy(np.stack(encoded, axis=1).astype(np.float32)),
        labels=torch.from_numpy(labels),
        class_names=classes,
        own=True,
        notes=tuple(_notes(features, width=len(encoded))),
    )


def _read(path: Path) -> list[Column]:
    if not path.is_file():
        message = f"there is no table {path}: give a file, as in {TABLE}/a/path.csv"
        raise DataMissing(message)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        message = (
            f"{path} does not end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}, which are the tables that can be read"
        )
        raise BadParameter(message)
    pandas = _pandas(path)
    try:
        if ending == ".parquet":
            frame = pandas.read_parquet(path)
        else:
            frame = pandas.read_csv(path, sep=_separator(path), encoding="utf-8-sig", low_memory=False)
    except ImportError as error:  # pandas reads Parquet by another package
        raise DataMissing(_what_to_install(path, "pyarrow")) from error
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8 text: save it as CSV in UTF-8"
        raise BadParameter(message) from error
    except Exception as error:  # pandas and its engines raise almost anything for a damaged file
        why = "it is empty" if path.stat().st_size == 0 else str(error).splitlines()[0]
        message = f"{path} cannot be read as a table: {why}"
        raise BadParameter(message) from error
    if ending != ".parquet" and not isinstance(frame.index, pandas.RangeIndex):
        message = f"the rows of {path} have more values than its first line has names: name every column"
        raise BadParameter(message)
    if frame.index.name is not None:  # a column that pandas stored apart
        frame = frame.reset_index()
    return [_column(pandas, str(name), series) for name, series in frame.items()]


def _pandas(path: Path) -> ModuleType:
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise DataMissing(_what_to_install(path, "pandas")) from error


def _what_to_install(path: Path, package: str) -> str:
    return f"reading {path} needs {package}, which is not installed: pip install '{EXTRA}'"


def _separator(path: Path) -> str:
    """Return the character that occurs most often in the first line; a comma if none does."""
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline()
    return max(_SEPARATORS, key=first.count)


class _Series(Protocol):
    """What is used here of a column of pandas."""

    dtype: object

    def to_numpy(self, *, dtype: type[np.float64]) -> npt.NDArray[np.float64]: ...

    def tolist(self) -> list[object]: ...


def _column(pandas: ModuleType, name: str, series: _Series) -> Column:
    types, missing = pandas.api.types, int(pandas.isna(series).sum())
    if missing:
        return Column(name=name, missing=missing)
    if types.is_numeric_dtype(series) and not types.is_complex_dtype(series):
        return Column(name=name, missing=0, numbers=series.to_numpy(dtype=np.float64))
    category = isinstance(series.dtype, pandas.CategoricalDtype)
    if category or types.is_string_dtype(series) or types.is_object_dtype(series):
        values = series.tolist()
        odd = next((value for value in values if not isinstance(value, str | bool | int | float)), None)
        if odd is None:
            return Column(name=name, missing=0, texts=tuple(map(str, values)))
        return Column(name=name, missing=0, refused=f"values of type {type(odd).__name__}")
    return Column(name=name, missing=0, refused=f"values of type {series.dtype}")


def _check_names(path: Path, columns: dict[str, Column], *, label: str, drop: tuple[str, ...]) -> None:
    """Raise `BadParameter` unless the label and the dropped columns exist and every column has a name."""
    shown = _some(columns)
    if all(_is_number(name) for name in columns):
        message = f"the first line of {path} must name the columns, but it is numbers: {shown}"
        raise BadParameter(message)
    if not label:
        message = f"table {path} needs the column of its classes, as in label = {list(columns)[-1]!r}; its columns are {shown}"
        raise BadParameter(message)
    for key, name in (("label", label), *(("drop", name) for name in drop)):
        if name not in columns:
            message = f"{path} has no column {name!r} for {key}{nearest(name, columns)}; its columns are {shown}"
            raise BadParameter(message)
    if label in drop:
        message = f"the column {label!r} of {path} cannot be both label and drop"
        raise BadParameter(message)


def _check_columns(path: Path, columns: list[Column]) -> None:
    """Raise `BadParameter` for columns that cannot be used, all of a kind in one message."""
    for what, names in _problems(columns).items():
        if names:
            message = f"{path} has {what}: {_some(names)}; mend the file, or leave columns out with drop = [...]"
            raise BadParameter(message)


def _problems(columns: list[Column]) -> dict[str, list[str]]:
    """Return which columns cannot be used, by what is wrong with them; lists may be empty."""
    unnamed = [column.name for column in columns if column.name.startswith("Unnamed: ")]
    missing = {column.name: column.missing for column in columns if column.missing}
    infinite = {column.name: int(np.isinf(column.numbers).sum()) for column in columns if column.numbers is not None}
    refused = [f"{column.name} ({column.refused})" for column in columns if column.refused]
    return {
        "columns without a name, perhaps row numbers": unnamed,
        "missing values in": [f"{name} ({count:,})" for name, count in missing.items()],
        "infinite values in": [f"{name} ({count:,})" for name, count in infinite.items() if count],
        "neither numbers nor text in": refused,
    }


def _classes(path: Path, column: Column) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Return the names of the classes in order, numbers by value and text by letters, and each row's class."""
    if column.numbers is not None:
        if not bool((column.numbers == np.rint(column.numbers)).all()):
            message = f"the label {column.name} of {path} has fractions, but a victim is a classifier: give a column of classes"
            raise BadParameter(message)
        values, labels = np.unique(column.numbers, return_inverse=True)
        names = tuple(str(int(value)) for value in values)
    else:
        assert column.texts is not None, "columns that are neither numbers nor text are refused before"
        texts, labels = np.unique(np.array(column.texts, dtype=object), return_inverse=True)
        names = tuple(str(text) for text in texts)
    if not 2 <= len(names) <= max(2, len(labels) // 2):
        message = (
            f"the label {column.name} of {path} has {len(names):,} distinct values in {len(labels):,} rows; classes are at "
            "least two, and have two rows or more on average"
        )
        raise BadParameter(message)
    return names, labels.astype(np.int64)


def _encoded(path: Path, column: Column) -> Iterator[npt.NDArray[np.float64]]:
    """Yield a column's numbers in [0, 1], or a column of zeros and ones for each of its texts, in order of letters.

    The range is that of all rows, which float32 can hold; that of the training rows follows when the table is split.
    """
    if column.numbers is not None:
        low, high = column.numbers.min(), column.numbers.max()
        yield (column.numbers - low) / (high - low) if high > low else np.zeros_like(column.numbers)
        return
    assert column.texts is not None, "columns that are neither numbers nor text are refused before"
    texts = np.array(column.texts, dtype=object)
    values = sorted(set(column.texts))
    if len(values) > MAX_VALUES:
        message = (
            f"the column {column.name} of {path} is text with {len(values):,} distinct values, and at most {MAX_VALUES} are "
            "one-hot encoded: leave it out with drop = [...], or write numbers, with a decimal point"
        )
        raise BadParameter(message)
    yield from ((texts == value).astype(np.float64) for value in values)


def _notes(features: list[Column], *, width: int) -> Iterator[str]:
    texts = {column.name: len(Counter(column.texts)) for column in features if column.texts is not None}
    encoded = f"; one-hot encoded: {_some(f'{name} ({count})' for name, count in texts.items())}" if texts else ""
    yield f"columns: {len(features)}, inputs of the victim: {width}{encoded}"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
