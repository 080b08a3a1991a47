"""Continues a run in its own folder: what the folder holds, what is missing, and more seeds for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from arena.contracts import BadParameter, Matchup, RunFolderExists, matchup_id
from arena.referee.journal import read_journal
from arena.referee.tables import to_toml
from arena.referee.tournament import Tournament
from arena.referee.tournament_file import to_table
from arena.report.files import write_results, write_whole
from arena.runs.folder import (
    SETTINGS,
    TOURNAMENT,
    AdmittedMatchups,
    RunFolder,
    Settings,
    alone_in,
    finished_results,
    write_settings,
)

SHOWN_CHARACTERS = 120  # of a value that differs


def holds_a_run(folder: Path) -> bool:
    """Return whether a folder holds a run that can be continued."""
    return (folder / TOURNAMENT).exists() and (folder / SETTINGS).exists()


def check_same(run: RunFolder, tournament: Tournament, folder: Path) -> None:
    """Raise `RunFolderExists`, with what differs, unless the folder holds this tournament.

    It may have fewer seeds there, and other resources and replays, which change no result.
    """
    extended = tournament.seeds[: len(run.tournament.seeds)] == run.tournament.seeds
    seeds = tournament.seeds if extended else run.tournament.seeds
    there = replace(run.tournament, seeds=seeds, resources=tournament.resources, replays=tournament.replays)
    differing = differences(there, tournament)
    if differing:
        message = (
            f"{folder} holds another tournament ({'; '.join(differing)}). Continue the one that it holds with "
            f"`arena resume {folder}`, or choose another folder with --out"
        )
        raise RunFolderExists(message)


def differences(before: Tournament, now: Tournament) -> list[str]:
    """Return the keys in which two tournaments differ, each with what it was and what it is now."""
    old, new = to_table(before), to_table(now)
    return [_difference(key, old, new) for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]


def with_more_seeds(tournament: Tournament, number: int) -> Tournament:
    """Return a tournament with ``number`` further seeds, which follow its largest one. Raises `BadParameter`."""
    if number < 1:
        message = f"--add-seeds is {number}; it must be 1 or more"
        raise BadParameter(message)
    first = max(tournament.seeds) + 1
    return replace(tournament, seeds=(*tournament.seeds, *range(first, first + number)))


def continue_run_folder(
    folder: Path, run: RunFolder, tournament: Tournament, settings: Settings, admitted: AdmittedMatchups
) -> None:
    """Write the settings with which a run goes on, and its further seeds.

    Raises `RunFolderChanged` if what its results depend on has changed, and `RunFolderBusy` if it is being played.
    """
    run.check_unchanged(admitted.inputs)
    with alone_in(folder):
        if tournament != run.tournament:
            write_whole(folder / TOURNAMENT, to_toml(to_table(tournament)))
        write_settings(folder, settings, admitted)


def unplayed(folder: Path, matchups: Sequence[Matchup]) -> list[Matchup]:
    """Return the matchups without a result; one that the infrastructure lost has none."""
    played = {matchup_id(one.matchup) for one in read_journal(folder) if one.verdict.outcome != "infrastructure"}
    return [matchup for matchup in matchups if matchup_id(matchup) not in played]


def complete_files(folder: Path) -> None:
    """Write the result files again: the process may have ended between its last match and them."""
    with alone_in(folder):
        write_results(folder, finished_results(folder).results)


def _difference(key: str, old: Mapping[str, object], new: Mapping[str, object]) -> str:
    before, now = old.get(key), new.get(key)
    if isinstance(before, list) and isinstance(now, list):
        gone = [item for item in before if item not in now]
        added = [item for item in now if item not in before]
        if gone or added:
            parts = [f"only in the folder: {_shown(gone)}"] if gone else []
            parts += [f"only asked for: {_shown(added)}"] if added else []
            return f"{key}: {', '.join(parts)}"
    return f"{key}: {_shown(before)} in the folder, {_shown(now)} asked for"


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    words = to_toml({"": value}).removeprefix(" = ").strip()
    return words if len(words) <= SHOWN_CHARACTERS else words[:SHOWN_CHARACTERS] + " ..."
