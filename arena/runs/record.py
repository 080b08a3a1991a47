"""Reads a run folder for a report, in whatever state it is: of an older version, cut off, or still being played."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arena.contracts import ArenaError, MatchResult, Matchup, UnknownName, from_json, matchup_id
from arena.referee.journal import JOURNAL, Entry
from arena.referee.tournament import Tournament
from arena.referee.tournament_file import read_tournament
from arena.report.files import RESULTS_JSON
from arena.report.record import RunRecord
from arena.runs.folder import SETTINGS, TOURNAMENT

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)
"""What `Entry.read`, `from_json` and `json.loads` raise for text that is not what they expect."""


@dataclass(frozen=True, kw_only=True)
class _Read:
    """Results, and sentences about what could not be read."""

    results: Sequence[MatchResult]
    problems: tuple[str, ...]


def read_record(folder: Path) -> RunRecord:
    """Return what a run folder holds, with a sentence for everything that cannot be read.

    Only files are read: entries may have changed or disappeared since they played. Raises `UnknownName` if there is no
    result at all.
    """
    read = _journalled(folder) if (folder / JOURNAL).exists() else _exported(folder)
    settings, problems = _settings(folder), list(read.problems)
    tournament = _tournament(folder)
    if settings is None:
        problems.append(
            f"{SETTINGS} cannot be read, so the versions in use and the number of planned matches are unknown."
        )
    if tournament is None:
        problems.append(f"{TOURNAMENT} cannot be read, so missing matches cannot be named.")
    found = {matchup_id(result.matchup): result for result in read.results}
    if not found:
        message = (
            f"{folder} is not a run folder, or has no finished match yet; continue it with `arena resume {folder}`"
        )
        raise UnknownName(message)
    wanted = _names(settings)
    others = [name for name in found if name not in set(wanted)] if wanted else []
    if others:
        problems.append(
            f"{SETTINGS} does not list {len(others)} of the results, for example because another version wrote it; they "
            "are included, and matches without a result are counted but not named."
        )
    absent = [name for name in wanted if name not in found]
    named = {} if others else _planned(tournament)
    missing = tuple(named[name] for name in absent if name in named)
    return RunRecord(
        name=tournament.name if tournament is not None else folder.name,
        results=(
            *(found[name] for name in wanted if name in found),
            *(found[name] for name in (others if wanted else found)),
        ),
        folder=folder,
        missing=missing,
        unnamed=max(0, len(absent) - len(others) - len(missing)),
        problems=tuple(problems),
        versions=_versions(settings),
    )


def _journalled(folder: Path) -> _Read:
    """Return the results of the journal; a last line without an end was cut off in mid-write."""
    *lines, rest = (folder / JOURNAL).read_bytes().split(b"\n")
    results, problems = [], []
    for number, line in enumerate(lines, start=1):
        try:
            results.append(Entry.read(line).result)
        except UNREADABLE as error:
            problems.append(
                f"Line {number} of {JOURNAL} cannot be read ({error}), so the result of its match is missing."
            )
    if rest:
        problems.append(f"The last line of {JOURNAL} was cut off while it was written, so its match has no result.")
    return _Read(results=results, problems=tuple(problems))


def _exported(folder: Path) -> _Read:
    """Return the results of results.json, for a folder that has no journal."""
    problem = f"There is no {JOURNAL}; the results were read from {RESULTS_JSON}."
    try:
        stored = json.loads((folder / RESULTS_JSON).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _Read(results=(), problems=())
    results, problems = [], [problem]
    for number, item in enumerate(stored if isinstance(stored, list) else [], start=1):
        try:
            results.append(from_json(MatchResult, item))
        except UNREADABLE as error:
            problems.append(f"Result {number} of {RESULTS_JSON} cannot be read ({error}), so it is missing.")
    return _Read(results=results, problems=tuple(problems))


def _settings(folder: Path) -> Mapping[str, object] | None:
    try:
        stored = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None


def _names(settings: Mapping[str, object] | None) -> list[str]:
    """Return the ids of the planned matches, in order; empty if they are not recorded."""
    listed = settings.get("matchups") if settings else None
    return [str(name) for name in listed] if isinstance(listed, list) else []


def _versions(settings: Mapping[str, object] | None) -> dict[str, str]:
    stored = settings.get("versions") if settings else None
    return {str(name): str(value) for name, value in stored.items()} if isinstance(stored, dict) else {}


def _tournament(folder: Path) -> Tournament | None:
    try:
        return read_tournament(folder / TOURNAMENT)
    except (ArenaError, OSError):
        return None


def _planned(tournament: Tournament | None) -> dict[str, Matchup]:
    """Return the planned matchups by id."""
    return {matchup_id(one): one for one in tournament.matchups()} if tournament is not None else {}
