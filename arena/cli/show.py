"""``arena show``: shows one match of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arena.cli.console import output
from arena.cli.options import JsonOption, print_json
from arena.contracts import MatchResult, UnknownName, matchup_id, to_json
from arena.oracle.sqlite_ledger import read_transcript
from arena.oracle.transcript import Transcript
from arena.referee.journal import read_journal
from arena.report.match_tables import match_table, transcript_table
from arena.runs.folder import TRANSCRIPTS


def command(
    folder: Annotated[Path, typer.Argument(help="Run folder.")],
    match: Annotated[str, typer.Argument(help="Id of a match, or the beginning of one; results.csv lists them.")],
    json: JsonOption = False,
) -> None:
    """Show the terms, verdict, scores and transcript of one match.

    Example: arena show runs/demo 3f
    """
    results = list(read_journal(folder))
    if not results:
        message = f"{folder} is not a run folder, or has no finished match yet"
        raise UnknownName(message)
    result = find_match(results, match, folder)
    transcript = find_transcript(folder, result)
    if json:
        print_json(to_json(result))
        return
    output.print(match_table(result))
    if transcript is not None:
        output.print(transcript_table(transcript, recorded=result.transcript_digest))


def find_match(results: list[MatchResult], beginning: str, folder: Path) -> MatchResult:
    """Return the match whose id starts with ``beginning``. Raises `UnknownName` unless there is exactly one."""
    found = [result for result in results if matchup_id(result.matchup).startswith(beginning)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(matchup_id(result.matchup) for result in (found or results)[:5])
    problem = f"{len(found)} matches start with" if found else f"{folder} has no match"
    message = f"{problem} {beginning!r}; give one of {names}{', ...' if len(found or results) > 5 else ''}"
    raise UnknownName(message)


def find_transcript(folder: Path, result: MatchResult) -> Transcript | None:
    """Return the recorded transcript of a match, or None if the match was reused or never opened."""
    path = folder / TRANSCRIPTS / f"{matchup_id(result.matchup)}-{result.attempt}.sqlite"
    return read_transcript(path) if path.exists() else None
