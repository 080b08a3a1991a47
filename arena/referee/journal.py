"""The journal of a run: one JSON line per result, synced to disk; a partial last line is cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from arena.contracts import LedgerUnavailable, MatchResult, from_json, to_json

JOURNAL = "journal.jsonl"


class Journal:
    """The results of one run folder in the order in which they ended."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        self.results = list(read_journal(folder))
        self._cut_torn_line()

    def append(self, result: MatchResult) -> None:
        """Append a result and sync it to disk. Raises `LedgerUnavailable` if it cannot be written."""
        line = json.dumps(to_json(result), separators=(",", ":")) + "\n"
        try:
            with self._path.open("ab") as file:
                start = file.tell()
                try:
                    file.write(line.encode())
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(start)
                    raise
        except OSError as error:
            message = f"cannot write {self._path}: {error.strerror}; make room, then `arena resume {self._path.parent}`"
            raise LedgerUnavailable(message) from error
        self.results.append(result)

    def _cut_torn_line(self) -> None:
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
                os.fsync(file.fileno())


def read_journal(folder: Path) -> Iterator[MatchResult]:
    """Yield the results in a run folder's journal, without a last line that was only partly written."""
    path = folder / JOURNAL
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:
        yield from_json(MatchResult, json.loads(line))
