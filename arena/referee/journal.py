"""The journal of a run: one JSON line per result, synced to disk; a partial last line is cut off.

The lines form a hash chain, so that `arena verify` notices a line that was changed, removed or inserted. A line also
says whether its result was reused from another run, and holds the digest of the file with the match's transcript.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from arena.contracts import LedgerUnavailable, MatchResult, from_json, matchup_id, to_json

JOURNAL = "journal.jsonl"

_LINK = re.compile(rb',"link":"([0-9a-f]{32})"\}$')


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a journal. Lines from before journals had a chain have no ``link``."""

    result: MatchResult
    reused: bool = False  # from another run, in whose folder the transcript is
    transcript: str = ""  # the digest of the file with the transcript; empty if there is none
    link: str = ""

    @classmethod
    def read(cls, line: bytes) -> Entry:
        """Return the entry of a line without its line break. Raises ValueError, TypeError or KeyError."""
        table = json.loads(line)
        if not isinstance(table, dict):
            message = f"a line of a journal is a table, not {type(table).__name__}"
            raise ValueError(message)
        reused, transcript = bool(table.pop("reused", False)), str(table.pop("transcript", ""))
        link = str(table.pop("link", ""))
        return cls(result=from_json(MatchResult, table), reused=reused, transcript=transcript, link=link)


def link_of(line: bytes, previous: str) -> str:
    """Return the link that a line must have after the link ``previous``, computed from its bytes."""
    return _digest(previous.encode() + b"\0" + _LINK.sub(b"", line))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the last result of a match stands in the file, and whether it is final."""

    start: int
    lost: bool  # by the infrastructure


class Journal:
    """The results of one run folder in the order in which they ended.

    Results are read from the file when they are asked for: a journal in memory has the size of its matches' ids.
    """

    def __init__(self, folder: Path, *, transcript_of: Callable[[MatchResult], str] = lambda result: "") -> None:
        """``transcript_of`` returns the digest of the file with a result's transcript, or an empty string."""
        self._path, self._transcript_of = folder / JOURNAL, transcript_of
        self._cut_torn_line()
        self._link, self._places = "", dict[str, _Place]()
        start = 0
        for line in journal_lines(folder):
            self._link = link_of(line, self._link)
            self._note(Entry.read(line).result, start)
            start += len(line) + 1

    @property
    def results(self) -> list[MatchResult]:
        """All results, read from the file."""
        return list(read_journal(self._path.parent))

    def __contains__(self, name: str) -> bool:
        """Return whether the match with this id has a result that stands; one that the infrastructure lost has none."""
        return name in self._places and not self._places[name].lost

    def result_of(self, name: str) -> MatchResult:
        """Return the last result of the match with this id. Raises KeyError if there is none."""
        with self._path.open("rb") as file:
            file.seek(self._places[name].start)
            return Entry.read(file.readline()).result

    def append(self, result: MatchResult, *, reused: bool = False) -> None:
        """Append a result and sync it to disk. Raises `LedgerUnavailable` if it cannot be written."""
        about = {"reused": True} if reused else {"transcript": self._transcript_of(result)}
        table = {**_table(result), **{key: value for key, value in about.items() if value}}
        body = json.dumps(table, separators=(",", ":")).encode()
        link = _digest(self._link.encode() + b"\0" + body.removesuffix(b"}"))
        try:
            with self._path.open("ab") as file:
                start = file.tell()
                try:
                    file.write(body.removesuffix(b"}") + f',"link":"{link}"}}\n'.encode())
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(start)
                    raise
        except OSError as error:
            message = f"cannot write {self._path}: {error.strerror}; make room, then `arena resume {self._path.parent}`"
            raise LedgerUnavailable(message) from error
        self._link = link
        self._note(result, start)

    def _note(self, result: MatchResult, start: int) -> None:
        self._places[matchup_id(result.matchup)] = _Place(start, lost=result.verdict.outcome == "infrastructure")

    def _cut_torn_line(self) -> None:
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
                os.fsync(file.fileno())


def journal_lines(folder: Path) -> list[bytes]:
    """Return the lines of a run folder's journal, without a last line that was only partly written."""
    path = folder / JOURNAL
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def read_entries(folder: Path) -> Iterator[Entry]:
    """Yield the entries of a run folder's journal, without a last line that was only partly written."""
    yield from map(Entry.read, journal_lines(folder))


def read_journal(folder: Path) -> Iterator[MatchResult]:
    """Yield the results in a run folder's journal, without a last line that was only partly written."""
    for entry in read_entries(folder):
        yield entry.result


def _table(result: MatchResult) -> dict[str, object]:
    table = to_json(result)
    assert isinstance(table, dict), "a result is a table"
    return {**table}


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
