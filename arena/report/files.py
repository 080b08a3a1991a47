"""The files of a run folder: results.json, results.csv; each appears whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

from arena.contracts import MatchResult, UnknownName, from_json, to_json
from arena.report.columns import columns_of

RESULTS_JSON, RESULTS_CSV = "results.json", "results.csv"


def write_results(folder: Path, results: Sequence[MatchResult]) -> None:
    """Write both files of a run folder."""
    write_whole(folder / RESULTS_JSON, json.dumps([to_json(result) for result in results], indent=1) + "\n")
    write_whole(folder / RESULTS_CSV, results_csv(results))


def read_results(folder: Path) -> list[MatchResult]:
    """Return the results of a run folder. Raises `UnknownName` if there are none."""
    path = folder / RESULTS_JSON
    try:
        return [from_json(MatchResult, item) for item in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError as error:
        message = f"{folder} is no run folder: there is no {path}"
        raise UnknownName(message) from error


def results_csv(results: Sequence[MatchResult]) -> str:
    """Return one row per match, with the columns of `arena.report.columns`; what a match does not have stays empty."""
    columns = columns_of(results)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for result in results:
        writer.writerow([column.of(result) for column in columns])
    return text.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Write a file through to the disk and put it in place in one step; a folder has one writer."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
