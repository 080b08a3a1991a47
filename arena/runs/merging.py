"""Merges parts of one tournament that were played apart, each in its own run folder, into a new run folder."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from arena.contracts import BadParameter, LedgerCorrupt, RunFolderChanged, RunFolderExists, matchup_id
from arena.contracts.flags import TIMED
from arena.referee.journal import Entry, Journal, read_entries
from arena.referee.keys import changed
from arena.referee.tournament import Tournament
from arena.report.files import write_results, write_whole
from arena.runs.continuing import differences
from arena.runs.folder import (
    PICTURES,
    PRUNED,
    TRANSCRIPTS,
    AdmittedMatchups,
    RunFolder,
    alone_in,
    create_run_folder,
    file_digest,
    finished_results,
    open_run_folder,
    pruned_transcripts,
    transcript_path,
)
from arena.runs.verifying import verify


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The number of results in a merged folder, and of matches that no part has played."""

    results: int
    missing: int


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A result and the folder in which it is."""

    folder: Path
    entry: Entry


def merge(parts: Sequence[Path], out: Path) -> Merged:
    """Write a new run folder with the results, transcripts and pictures of all parts; the parts stay as they are.

    The parts may differ in their seeds, resources and replays. Raises `BadParameter` for fewer than two parts or for parts that
    disagree about a match, `RunFolderExists` for parts of different tournaments or a folder that is in use,
    `RunFolderChanged` if their results depend on different things, `RunFolderBusy` if a part is being played, and
    `LedgerCorrupt` if a part is damaged.
    """
    if len({part.resolve() for part in parts}) < 2:
        message = "give at least two different run folders to merge, as in: arena merge runs/a runs/b --out runs/both"
        raise BadParameter(message)
    with contextlib.ExitStack() as locks:
        runs = [open_run_folder(part) for part in parts]
        for part in parts:
            locks.enter_context(alone_in(part))
        tournament = _one_tournament(parts, runs)
        _check_sound(parts)
        found = _merged_entries(parts)
        fresh = not out.exists()
        matchups = tournament.matchups()
        create_run_folder(out, tournament, runs[0].settings, AdmittedMatchups(matchups=matchups, inputs=runs[0].inputs))
        try:
            names = [matchup_id(matchup) for matchup in matchups]
            _write(out, parts, [found[name] for name in dict.fromkeys([*names, *found]) if name in found])
        except BaseException:
            if fresh:
                shutil.rmtree(out)
            raise
    return Merged(results=sum(name in found for name in names), missing=sum(name not in found for name in names))


def _one_tournament(parts: Sequence[Path], runs: Sequence[RunFolder]) -> Tournament:
    """Return the tournament of all parts, with the seeds of all of them."""
    first, seeds = runs[0], dict.fromkeys(runs[0].tournament.seeds)
    for part, run in zip(parts[1:], runs[1:], strict=True):
        same = replace(
            run.tournament,
            seeds=first.tournament.seeds,
            resources=first.tournament.resources,
            replays=first.tournament.replays,
        )
        differing = differences(first.tournament, same)
        if differing:
            message = (
                f"{part} holds another tournament than {parts[0]} ({'; '.join(differing)}, where the folder is "
                f"{parts[0]}): only parts of one tournament can be merged"
            )
            raise RunFolderExists(message)
        depends = changed(first.inputs, run.inputs)
        if depends:
            message = (
                f"{part} cannot be merged with {parts[0]}, because their results depend on different things "
                f"({'; '.join(depends)}); play one of the two again under the terms of the other"
            )
            raise RunFolderChanged(message)
        seeds |= dict.fromkeys(run.tournament.seeds)
    return replace(first.tournament, seeds=tuple(seeds))


def _check_sound(parts: Iterable[Path]) -> None:
    for part in parts:
        damages = verify(part).damages
        if damages:
            first = f"{damages[0].what}: {damages[0].problem}"
            message = f"{part} is damaged ({first}); `arena verify {part}` names everything. Nothing was merged"
            raise LedgerCorrupt(message)


def _merged_entries(parts: Iterable[Path]) -> dict[str, _Found]:
    """Return one entry per match: a result rather than a lost match, and one with its transcript if there is one."""
    found: dict[str, _Found] = {}
    for part in parts:
        for entry in read_entries(part):
            name = matchup_id(entry.result.matchup)
            here, before = _Found(folder=part, entry=entry), found.get(name)
            if before is None or _worth(here) > _worth(before):
                found[name] = here
            if before is not None:
                _check_agree(before, here)
    return found


def _worth(found: _Found) -> tuple[bool, bool]:
    return found.entry.result.verdict.outcome != "infrastructure", not found.entry.reused


def _check_agree(one: _Found, other: _Found) -> None:
    """Raise `BadParameter` if two folders hold different results of one match, neither of which depends on time."""
    first, second = one.entry.result, other.entry.result
    lost = "infrastructure" in (first.verdict.outcome, second.verdict.outcome)
    if lost or TIMED in (*first.flags, *second.flags):
        return
    if (first.transcript_digest, first.clone_digest) != (second.transcript_digest, second.clone_digest):
        message = (
            f"{one.folder} and {other.folder} disagree about the match {matchup_id(first.matchup)}: its transcript is "
            f"{first.transcript_digest or 'missing'} in the first and {second.transcript_digest or 'missing'} in the "
            "second. Machines of different types may answer differently in the last bits; merge only one of the two"
        )
        raise BadParameter(message)


def _write(out: Path, parts: Iterable[Path], found: Sequence[_Found]) -> None:
    journal = Journal(out, transcript_of=lambda result: file_digest(transcript_path(out, result)))
    for one in found:
        for source, target in _files(one, out):
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(source, target)
    pruned = sorted(
        name for part in parts for name in pruned_transcripts(part) if not (out / TRANSCRIPTS / name).exists()
    )
    if pruned:
        write_whole(out / PRUNED, json.dumps(pruned) + "\n")
    for one in found:
        journal.append(one.entry.result, reused=one.entry.reused)
    write_results(out, finished_results(out).results)


def _files(found: _Found, out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the files of a result that its folder holds, each with the place to which it is copied."""
    result = found.entry.result
    pairs = [(transcript_path(found.folder, result), transcript_path(out, result))]
    pairs += [(found.folder / PICTURES / name, out / PICTURES / name) for name in result.pictures]
    yield from ((source, target) for source, target in pairs if source.exists())
