"""The progress of a run, for whoever looks into its folder: the process that plays writes it, and others read it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from arena.contracts import LedgerCorrupt, UnknownName, matchup_id
from arena.referee.journal import JOURNAL, Entry
from arena.referee.outlook import Outlook
from arena.referee.referee import Progress
from arena.runs.folder import SETTINGS

PROGRESS = "progress.json"
WRITE_SECONDS = 1.0  # between two reports of the process that plays
WINDOW_SECONDS = 600.0  # over which the pace is measured
FREE_SLOT = "a free slot"  # what the matches wait for that no runner has been given yet
SILENT_SECONDS = 60.0  # after which a process that does not report is taken to have ended


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the process that plays a run says about itself."""

    at: float  # seconds since the epoch
    host: str
    process: int
    running: int
    stages: Mapping[str, int]
    slots: int
    per_minute: float | None
    ended: bool
    waits: Mapping[str, int] = field(default_factory=dict)
    nodes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def lives(self, now: float) -> bool:
        """Return whether the process still plays: on its own host it is looked up, elsewhere it must have reported.

        With --runner local it reports only between two matches, however long they take.
        """
        if self.ended or self.host != socket.gethostname():
            return not self.ended and now - self.at < SILENT_SECONDS
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # another user's
            return True
        return True


class Pace:
    """How fast matches end, measured over the last minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted: deque[tuple[float, int]] = deque()

    def note(self, done: int) -> None:
        """Note how many matches are done now."""
        now = self._clock()
        while len(self._noted) > 1 and now - self._noted[0][0] > WINDOW_SECONDS:
            self._noted.popleft()
        if not self._noted or done != self._noted[-1][1]:
            self._noted.append((now, done))

    @property
    def per_minute(self) -> float | None:
        """Matches a minute, or None before the first match has ended."""
        if len(self._noted) < 2:
            return None
        (start, first), last = self._noted[0], self._noted[-1][1]
        passed = self._clock() - start
        return 60.0 * (last - first) / passed if passed > 0 else None

    def seconds_left(self, matches: int) -> float | None:
        """Return how long so many more matches take at this pace, or None if there is none yet."""
        pace = self.per_minute
        return 60.0 * matches / pace if pace else None


class ProgressFile:
    """Writes the progress of a run into its folder, about once a second."""

    def __init__(self, folder: Path, *, slots: int, look: Callable[[], Outlook] = Outlook) -> None:
        """``look`` returns what the runner is doing."""
        self._path, self._slots, self._look = folder / PROGRESS, slots, look
        self._pace = Pace()
        self._written = float("-inf")

    def note(self, progress: Progress) -> None:
        """Write the progress, unless that was done less than a second ago."""
        self._pace.note(progress.done)
        if time.monotonic() - self._written >= WRITE_SECONDS:
            self._write(running=progress.running, queued=progress.left, ended=False)

    def end(self) -> None:
        """Write that the process no longer plays."""
        self._write(running=0, queued=0, ended=True)

    def _write(self, *, running: int, queued: int, ended: bool) -> None:
        self._written = time.monotonic()
        outlook = Outlook() if ended else self._look()
        waits = {**outlook.waits, FREE_SLOT: queued}
        report = Report(
            at=time.time(),
            host=socket.gethostname(),
            process=os.getpid(),
            running=running,
            stages=dict(outlook.stages),
            waits={reason: number for reason, number in waits.items() if number},
            nodes={node: asdict(load) for node, load in outlook.nodes.items()},
            slots=self._slots,
            per_minute=self._pace.per_minute,
            ended=ended,
        )
        partial = self._path.with_name(f".{PROGRESS}.partial")
        try:  # not synced to disk, and no reason to end a run if it cannot be written
            partial.write_text(json.dumps(asdict(report)) + "\n", encoding="utf-8")
            partial.replace(self._path)
        except OSError:
            partial.unlink(missing_ok=True)


State: TypeAlias = Literal["playing", "stopped", "finished"]
"""``stopped``: matches are missing, and nobody plays them."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """How far a run is, in matches, and what went wrong in it so far."""

    state: State
    total: int
    done: int
    running: int
    left: int
    stages: Mapping[str, int] = field(default_factory=dict)
    slots: int = 0
    waits: Mapping[str, int] = field(default_factory=dict)  # matches that cannot go on, by what they wait for
    nodes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # slots and hosts, by address
    per_minute: float | None = None
    seconds_left: float | None = None
    silent_seconds: float | None = None  # since the last report of the process that plays
    outcomes: Mapping[str, int] = field(default_factory=dict)  # matches that did not complete, by outcome and fault


class WatchedRun:
    """Reads how far a run is, again and again; each time it reads only what was added to the journal."""

    def __init__(self, folder: Path) -> None:
        """Raise `UnknownName` if this is not a run folder."""
        self._folder = folder
        try:
            self._wanted = frozenset(json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["matchups"])
        except (OSError, ValueError, KeyError) as error:
            message = f"{folder} is not a run folder: {folder / SETTINGS} cannot be read"
            raise UnknownName(message) from error
        self._offset = 0
        self._outcomes: dict[str, str] = {}

    def status(self, *, now: float | None = None) -> RunStatus:
        """Return how far the run is; ``now`` is in seconds since the epoch. Raises `LedgerCorrupt`."""
        self._read_journal()
        now = time.time() if now is None else now
        report = self._report()
        playing = report if report is not None and report.lives(now) else None
        done = sum(outcome != _LOST for outcome in self._outcomes.values())
        running = playing.running if playing else 0
        pace = playing.per_minute if playing else None
        state: State = "finished" if done == len(self._wanted) else "playing" if playing else "stopped"
        return RunStatus(
            state=state,
            total=len(self._wanted),
            done=done,
            running=running,
            left=max(0, len(self._wanted) - done - running),
            stages=playing.stages if playing else {},
            slots=playing.slots if playing else 0,
            waits=playing.waits if playing else {},
            nodes=playing.nodes if playing else {},
            per_minute=pace,
            seconds_left=60.0 * (len(self._wanted) - done) / pace if pace else None,
            silent_seconds=max(0.0, now - report.at) if report is not None and not report.ended else None,
            outcomes=dict(Counter(outcome for outcome in self._outcomes.values() if outcome != _COMPLETED)),
        )

    def _read_journal(self) -> None:
        path = self._folder / JOURNAL
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                result = Entry.read(line).result
            except (ValueError, TypeError, KeyError) as error:
                message = f"{path} has a line that cannot be read; `arena verify {self._folder}` names what is damaged"
                raise LedgerCorrupt(message) from error
            name, verdict = matchup_id(result.matchup), result.verdict
            if name in self._wanted:
                self._outcomes[name] = (
                    verdict.outcome if verdict.outcome == _COMPLETED else f"{verdict.outcome}, fault: {verdict.fault}"
                )

    def _report(self) -> Report | None:
        try:
            return Report(**json.loads((self._folder / PROGRESS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


_COMPLETED = "completed"
_LOST = "infrastructure, fault: arena"  # such a match is played again when the run is resumed
