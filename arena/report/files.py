"""The files of a run folder: results.json, results.csv; each appears whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

from arena.contracts import MatchResult, UnknownName, from_json, matchup_id, to_json
from arena.payoff.matrix import label, payoff

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
    """Return one row per match. Counts are hits and total in two columns; what a match does not have stays empty."""
    counts = sorted({key for result in results for key in result.counts})
    measures = sorted({key for result in results for key in result.measures})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(f"{key}:{part}" for key in counts for part in ("hits", "total")), *measures])
    for result in results:
        pairs = [part for key in counts for part in result.counts.get(key, ("", ""))]
        writer.writerow([*_row(result), *pairs, *(result.measures.get(key, "") for key in measures)])
    return text.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Write a file through to the disk and put it in place in one step; a folder has one writer."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


_COLUMNS = (
    "match", "victim", "victim_seed", "defense", "outliers", "surrogate", "attack", "informed", "pool", "pool_source",
    "budget", "seed", "attempt", "outcome", "fault", "stage", "reason", "flags", "isolation", "spent", "rows",
    "distinct_rows", "calls", "payoff", "transcript_digest", "clone_digest", "key",
)  # fmt: skip


def _row(result: MatchResult) -> list[object]:
    matchup, verdict = result.matchup, result.verdict
    value = payoff(result)
    return [
        matchup_id(matchup),
        label(matchup.victim),
        matchup.victim_seed,
        label(matchup.defense),
        matchup.knowledge.outliers,
        matchup.knowledge.surrogate,
        label(matchup.attack),
        matchup.informed,
        matchup.pool,
        matchup.pool_source,
        matchup.budget,
        matchup.seed,
        result.attempt,
        verdict.outcome,
        verdict.fault,
        verdict.stage,
        verdict.reason,
        " ".join(flag.replace(" ", "-") for flag in result.flags),
        result.isolation,
        result.spent,
        result.rows,
        result.distinct_rows,
        result.calls,
        "" if value is None else value,
        result.transcript_digest,
        result.clone_digest,
        result.key,
    ]
