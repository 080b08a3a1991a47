"""Verifies a run folder by reading alone: journal, ledgers, results and keys must agree with one another.

What follows from a recorded byte is computed again: the journal's hash chain, each ledger's chain, sums and transcript
digest, and the key of each result. Damage is something that cannot have come from an undisturbed run, nor from one that
was killed; whatever could not be verified is a note.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arena.contracts import ArenaError, MatchResult, UnknownName, UsageError, from_json, matchup_id, to_json
from arena.contracts.flags import SCORED_AS_NONE
from arena.match.secret import secret_file
from arena.oracle.sqlite_ledger import read_transcript
from arena.oracle.transcript import Transcript, transcript_of
from arena.payoff.matrix import label
from arena.referee.journal import JOURNAL, Entry, journal_lines, link_of
from arena.referee.keys import changed, inputs_of, inputs_of_all, result_key
from arena.referee.tournament import Tournament
from arena.referee.tournament_file import read_tournament
from arena.report.files import RESULTS_CSV, RESULTS_JSON, results_csv
from arena.runs.folder import (
    PICTURES,
    SETTINGS,
    TOURNAMENT,
    TRANSCRIPTS,
    Settings,
    file_digest,
    pruned_transcripts,
    site_of,
    transcript_path,
    versions,
)


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Something that is damaged, a file of the folder or a match, and what is wrong with it."""

    what: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was verified, all damage that was found, and what could not be verified."""

    results: int
    transcripts: int
    damages: tuple[Damage, ...]
    notes: tuple[str, ...]


def verify(folder: Path) -> Verified:
    """Verify a run folder without writing anything. Raises `UnknownName` if this is not a run folder."""
    if not any((folder / name).exists() for name in (SETTINGS, JOURNAL, TOURNAMENT)):
        message = f"{folder} is not a run folder: it has neither {SETTINGS} nor {JOURNAL}"
        raise UnknownName(message)
    return _Verification(folder).run()


class _Verification:
    """One verification: it collects damage and notes while it goes through the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._damages: list[Damage] = []
        self._notes: list[str] = []

    def run(self) -> Verified:
        settings, tournament = self._settings(), self._tournament()
        entries = self._journal()
        self._matchups(settings, tournament)
        self._each_once(entries)
        for entry in entries:
            self._damages += _implausible(entry.result)
        transcripts = sum(self._transcript(entry) for entry in entries)
        self._left_over(entries)
        self._result_files(settings, entries)
        self._keys(settings, tournament, entries)
        missing = len(set(_listed(settings)) - {matchup_id(entry.result.matchup) for entry in entries})
        if missing:
            self._notes.append(f"{missing} matches have no result yet; play them with `arena resume {self._folder}`")
        return Verified(
            results=len(entries),
            transcripts=transcripts,
            damages=tuple(dict.fromkeys(self._damages)),
            notes=tuple(self._notes),
        )

    def _damaged(self, what: str, problem: str) -> None:
        self._damages.append(Damage(what=what, problem=" ".join(problem.split())))

    def _settings(self) -> Mapping[str, object]:
        try:
            table = json.loads((self._folder / SETTINGS).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            self._damaged(SETTINGS, f"cannot be read: {error}")
            return {}
        if not isinstance(table, dict):
            self._damaged(SETTINGS, "is no table of settings")
            return {}
        recorded = table.get("tournament")
        if recorded is not None and recorded != file_digest(self._folder / TOURNAMENT):
            self._damaged(TOURNAMENT, f"is not the file that {SETTINGS} recorded")
        return table

    def _tournament(self) -> Tournament | None:
        try:
            return read_tournament(self._folder / TOURNAMENT)
        except UsageError as error:
            if any(damage.what == TOURNAMENT for damage in self._damages):
                return None
            self._notes.append(f"matchups and keys were not compared with {TOURNAMENT}, which cannot be read: {error}")
        return None

    def _journal(self) -> list[Entry]:
        entries, link = [], ""
        path = self._folder / JOURNAL
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            self._notes.append(f"the last line of {JOURNAL} was only partly written; `arena resume` cuts it off")
        for number, line in enumerate(journal_lines(self._folder), start=1):
            link = link_of(line, link)
            try:
                entry = Entry.read(line)
            except (ValueError, TypeError, KeyError) as error:
                self._damaged(f"{JOURNAL} line {number}", f"cannot be read: {error}")
                continue
            entries.append(entry)
            if entry.link and entry.link != link:
                self._damaged(
                    f"{JOURNAL} line {number}", "breaks the hash chain: it, or a line before it, was changed or removed"
                )
                link = entry.link  # so that only the damaged line is named
            elif not entry.link and any(one.link for one in entries):
                self._damaged(f"{JOURNAL} line {number}", "has no link of the hash chain, which lines before it have")
        return entries

    def _matchups(self, settings: Mapping[str, object], tournament: Tournament | None) -> None:
        if settings and tournament is not None:
            expanded = [matchup_id(matchup) for matchup in tournament.matchups()]
            if _listed(settings) != expanded:
                self._damaged(SETTINGS, f"its matchups are not those of {TOURNAMENT}")

    def _each_once(self, entries: Sequence[Entry]) -> None:
        final = [entry.result for entry in entries if entry.result.verdict.outcome != "infrastructure"]
        times = Counter(matchup_id(result.matchup) for result in final)
        named = {matchup_id(result.matchup): result for result in final}
        for name, number in times.items():
            if number > 1:
                self._damaged(_match(named[name]), f"has {number} results in {JOURNAL}")
        for result in final:
            stand_in = matchup_id(result.matchup.undefended())
            if SCORED_AS_NONE in result.flags and stand_in not in named:
                self._damaged(_match(result), f"is scored as the undefended match {stand_in}, which has no result")

    def _transcript(self, entry: Entry) -> bool:
        """Verify the transcript of a result, and return whether there is one."""
        result, path = entry.result, transcript_path(self._folder, entry.result)
        if entry.reused or not result.transcript_digest:
            return False
        name = f"{TRANSCRIPTS}/{path.name}"
        if not path.exists():
            if path.name in pruned_transcripts(self._folder):
                self._notes.append(f"{name} was pruned")
            elif entry.link:
                self._damaged(name, f"is missing: it is the transcript of {_match(result)}")
            else:
                self._notes.append(f"{name} is missing; the result may have been reused from another run")
            return False
        problem = _against_ledger(path, result)
        if not problem and entry.transcript and entry.transcript != file_digest(path):
            problem = "its bytes are not those of the end of its match, although no recorded call has changed"
        if problem:
            self._damaged(name, f"{problem} ({_match(result)})")
        pictures = [picture for picture in result.pictures if not (self._folder / PICTURES / picture).exists()]
        for picture in pictures:
            self._damaged(f"{PICTURES}/{picture}", f"is missing: it belongs to {_match(result)}")
        return True

    def _left_over(self, entries: Sequence[Entry]) -> None:
        known = {matchup_id(entry.result.matchup) for entry in entries}
        left = [path for path in (self._folder / TRANSCRIPTS).glob("*.sqlite") if path.stem[:16] not in known]
        if left:
            self._notes.append(f"{len(left)} transcripts have no result: their matches were not finished")

    def _result_files(self, settings: Mapping[str, object], entries: Sequence[Entry]) -> None:
        path = self._folder / RESULTS_JSON
        if not path.exists():
            self._notes.append(f"{RESULTS_JSON} is not written yet; the run writes it at its end")
            return
        in_journal: dict[str, list[MatchResult]] = {}
        for entry in entries:
            in_journal.setdefault(matchup_id(entry.result.matchup), []).append(entry.result)
        results = []
        try:
            for item in json.loads(path.read_text(encoding="utf-8")):
                results.append(from_json(MatchResult, item))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._damaged(RESULTS_JSON, f"cannot be read: {error}")
            return
        for result in results:
            same = in_journal.get(matchup_id(result.matchup), [])
            if result not in same:
                what = _differing(result, same[-1]) if same else f"it is not in {JOURNAL}"
                self._damaged(f"{RESULTS_JSON}, {_match(result)}", what)
        found = {matchup_id(result.matchup) for result in results}
        lost = [name for name in _listed(settings) if name in in_journal and name not in found]
        if lost and len(in_journal) >= len(_listed(settings)):
            self._damaged(RESULTS_JSON, f"lacks {len(lost)} results that are in {JOURNAL}, such as {lost[0]}")
        self._as_written(settings, results)

    def _as_written(self, settings: Mapping[str, object], results: Sequence[MatchResult]) -> None:
        """Compare the bytes of both files with what this version of arena writes, if this version wrote them."""
        recorded = settings.get("versions")
        if not isinstance(recorded, dict) or recorded.get("arena") != versions()["arena"]:
            self._notes.append(f"{RESULTS_JSON} and {RESULTS_CSV} are of another version: their values were compared")
            return
        named = any(damage.what.startswith(RESULTS_JSON) for damage in self._damages)
        text = json.dumps([to_json(result) for result in results], indent=1) + "\n"
        if not named and (self._folder / RESULTS_JSON).read_bytes() != text.encode():
            self._damaged(RESULTS_JSON, "is not as it was written, although no value in it differs")
        path = self._folder / RESULTS_CSV
        if not path.exists():
            self._notes.append(f"{RESULTS_CSV} is missing; `arena report {self._folder} --csv` prints it")
        elif path.read_bytes() != results_csv(results).encode():
            self._damaged(RESULTS_CSV, f"does not show what is in {RESULTS_JSON}")

    def _keys(self, settings: Mapping[str, object], tournament: Tournament | None, entries: Sequence[Entry]) -> None:
        """Compute the keys of all results again, unless what they depend on is not here any more."""
        if tournament is None or not settings:
            return
        if tournament.secret is None and not secret_file().exists():
            self._notes.append("keys were not computed again: the installation's secret is not here")
            return
        names = ("runner", "address", "mlflow", "data", "cache")
        try:
            run = Settings(**{name: settings[name] for name in names})  # type: ignore[arg-type]  # as it was written
            site = site_of(self._folder, tournament, run)
            now = inputs_of_all(tournament.matchups(), site)
            keys = [result_key(entry.result.matchup, site) for entry in entries]
        except (ArenaError, OSError, KeyError) as error:
            self._notes.append(f"keys were not computed again: {error}")
            return
        recorded = settings.get("inputs")
        differing = changed(recorded, now) if isinstance(recorded, dict) else []
        wrong = [entry.result for entry, key in zip(entries, keys, strict=True) if entry.result.key != key]
        explained = [result for result in wrong if not set(differing).isdisjoint(inputs_of(result.matchup, site))]
        for result in wrong:
            if result not in explained:
                self._damaged(_match(result), f"its key {result.key!r} is not that of its terms, players and data")
        if explained:
            changes = "; ".join(differing)
            self._notes.append(f"the keys of {len(explained)} results were not verified: this has changed: {changes}")
        elif differing and {entry.result.matchup for entry in entries} >= set(tournament.matchups()):
            self._damaged(SETTINGS, f"its record of {'; '.join(differing)} is not what the keys of the results say")


def _listed(settings: Mapping[str, object]) -> list[str]:
    names = settings.get("matchups", [])
    return [str(name) for name in names] if isinstance(names, list) else []


def _match(result: MatchResult) -> str:
    matchup = result.matchup
    return f"match {matchup_id(matchup)}: {label(matchup.attack)} against {label(matchup.defense)}, seed {matchup.seed}"


def _implausible(result: MatchResult) -> Iterator[Damage]:
    for name, count in result.counts.items():
        if not 0 <= count.hits <= count.total:
            yield Damage(what=_match(result), problem=f"its score {name} is {count.hits} of {count.total}")
    if result.spent > result.matchup.budget:
        yield Damage(what=_match(result), problem=f"it spent {result.spent} of a budget of {result.matchup.budget}")


def _against_ledger(path: Path, result: MatchResult) -> str:
    """Return what is wrong with a ledger, by itself or beside its result; empty if nothing is."""
    try:
        transcript: Transcript = read_transcript(path)
        rebuilt = transcript_of(transcript.calls, budget=result.matchup.budget, attempt=result.attempt)
    except ArenaError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if rebuilt.link != transcript.link:
        return f"it is the ledger of another budget or attempt than {result.matchup.budget} and {result.attempt}"
    counts = transcript.counts
    pairs = {
        "transcript digest": (result.transcript_digest, transcript.digest),
        "spent": (result.spent, counts.spent),
        "rows": (result.rows, counts.rows),
        "distinct rows": (result.distinct_rows, counts.distinct_rows),
        "calls": (result.calls, counts.calls),
    }
    wrong = [f"{name} {said}, but the ledger {found}" for name, (said, found) in pairs.items() if said != found]
    return f"the result says {'; '.join(wrong)}" if wrong else ""


def _differing(result: MatchResult, recorded: MatchResult) -> str:
    """Return in which fields a result differs from the one in the journal."""
    here, there = to_json(result), to_json(recorded)
    assert isinstance(here, dict), "a result is a table"
    assert isinstance(there, dict), "a result is a table"
    names = [name for name in here if here[name] != there[name]]
    return f"its {', '.join(names)} are not those in {JOURNAL}"
