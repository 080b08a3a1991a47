"""A tournament as a table for pandas."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from arena.contracts import UsageError
from arena.report.columns import Kind, columns_of
from arena.runs.record import read_record

if TYPE_CHECKING:
    import pandas

DTYPES: Mapping[Kind, str] = {
    "text": "string",
    "count": "Int64",
    "share": "Float64",
    "number": "Float64",
    "yes or no": "boolean",
}
"""The nullable types of pandas, so that what a match does not have is missing and not zero."""


def results(folder: str | Path) -> pandas.DataFrame:
    """Return the finished matches of a run folder, one per row, in the order of the tournament.

    Shares lie in [0, 1] and are missing where nothing was counted; beside each share of rows are the two integers that
    it was computed from, ``NAME:hits`` and ``NAME:total``. docs/results.md describes every column, and so does
    ``attrs["columns"]`` of the data frame. ``attrs["missing"]`` is the number of planned matches without a result, and
    ``attrs["problems"]`` lists what could not be read. The file results.csv in the run folder has the same columns.

    Raises `UnknownName` if there is no result, and `UsageError` if pandas is not installed.

    Example: ``arena.results("runs/demo").groupby(["attack", "defense"])["payoff"].mean()``
    """
    try:
        frames = importlib.import_module("pandas")
    except ImportError as error:
        message = "arena.results returns a pandas DataFrame: pip install 'model-stealing-arena[tables]'"
        raise UsageError(message) from error
    record = read_record(Path(folder))
    columns = columns_of(record.results)
    frame: pandas.DataFrame = frames.DataFrame({
        column.name: frames.array([column.of(result) for result in record.results], dtype=DTYPES[column.kind])
        for column in columns
    })  # fmt: skip
    frame.attrs = {
        "columns": {column.name: column.meaning for column in columns},
        "missing": record.left,
        "problems": list(record.problems),
    }
    return frame
