"""The referee: plays matchups through a runner, settles faults by the rules, and records the results.

The caller provides its connections to the outside: a `Runner`, a `Tracker` and a `Journal`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from arena.contracts import ArenaError, MatchResult, Matchup, Runner, Tracker, matchup_id
from arena.referee.journal import Journal
from arena.referee.settlement import REPLAYS, is_lost, needs_stand_in, scored_as

WAIT_SECONDS = 0.5  # the longest time between two reports of progress


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a run, in matches, and the result that ended last."""

    done: int
    running: int
    left: int
    last: MatchResult | None = None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The results of a run in the order of its matchups, and how many of them were reused."""

    results: tuple[MatchResult, ...]
    reused: int
    left: int = 0  # matches without a result, because the run was asked to end
    tracking_failed: str = ""  # why results did not reach the tracker; they are on disk in any case


_log = logging.getLogger(__name__)


def _words_of(result: MatchResult) -> dict[str, str]:
    """Return what a log says of a result."""
    verdict = result.verdict
    return {"outcome": verdict.outcome, "fault": verdict.fault, "stage": verdict.stage, "reason": verdict.reason}


class _Due(NamedTuple):
    """A matchup that has to be played, its id, and the number of the attempt."""

    name: str
    matchup: Matchup
    attempt: int = 1


class Referee:
    """Plays those matchups of a list that have no result yet."""

    def __init__(
        self,
        *,
        runner: Runner,
        tracker: Tracker,
        journal: Journal,
        key_of: Callable[[Matchup], str],
        known: Mapping[str, MatchResult] | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        replays: int = REPLAYS,
        must_end: Callable[[], bool] = lambda: False,
    ) -> None:
        """``known`` holds results of other runs by key; ``on_progress`` is called after a result and while waiting.

        ``replays`` is how often a match that the infrastructure lost is played again. Once ``must_end`` returns true,
        no match starts any more, and the run ends with those that are running.
        """
        self._runner, self._tracker, self._journal = runner, tracker, journal
        self._key_of, self._known, self._on_progress = key_of, dict(known or {}), on_progress
        self._replays, self._must_end = replays, must_end
        self._given_up: set[str] = set()  # matches that the infrastructure lost in this run, which are not played again
        self._waiting_for_undefended: dict[str, list[MatchResult]] = {}
        self._tracking_failed = ""
        self._wanted: frozenset[str] = frozenset()
        self._done = 0  # of those wanted

    def run(self, matchups: Sequence[Matchup]) -> Summary:
        """Play every matchup that has no result yet, and return all results in the order of ``matchups``.

        Matchups that are left when the run must end have none.
        """
        wanted = {matchup_id(matchup): matchup for matchup in matchups}
        self._wanted = frozenset(wanted)
        self._done = sum(name in self._journal for name in wanted)
        reused = self._reuse(wanted)
        queue = deque(_Due(name, matchup) for name, matchup in wanted.items() if name not in self._journal)
        under_way = {due.name for due in queue}  # those that play, and those that wait for it
        playing: set[str] = set()
        self._report(playing, None)
        while playing or (queue and not self._must_end()):
            while queue and len(playing) < self._runner.slots and not self._must_end():
                due = queue.popleft()
                playing.add(due.name)
                _log.info("match started", extra={"match": due.name, "attempt": due.attempt})
                self._runner.submit(due.matchup, attempt=due.attempt)
            for result in self._runner.advance(timeout=WAIT_SECONDS):
                name = matchup_id(result.matchup)
                playing.discard(name)
                _log.info("match ended", extra={"match": name, "attempt": result.attempt, **_words_of(result)})
                under_way.discard(name)
                due_next = self._settle(name, result, under_way)
                under_way |= {due.name for due in due_next}
                queue.extendleft(due_next)
                self._report(playing, result)
            self._report(playing, None)
        ended = [name for name in wanted if self._has_ended(name)]
        return Summary(
            results=tuple(self._journal.result_of(name) for name in ended),
            reused=reused,
            left=len(wanted) - len(ended),
            tracking_failed=self._tracking_failed,
        )

    def _reuse(self, wanted: Mapping[str, Matchup]) -> int:
        """Reuse results of other runs that have the same key, and return their number."""
        taken = 0
        for name, matchup in wanted.items() if self._known else ():
            if name not in self._journal:
                known = self._known.get(self._key_of(matchup))
                if known is not None and not is_lost(known):
                    self._record(name, replace(known, matchup=matchup), reused=True)  # names and paths may differ
                    taken += 1
        return taken

    def _settle(self, name: str, result: MatchResult, under_way: Container[str]) -> list[_Due]:
        """Record a result, or return the matchups that must be played before it can be recorded."""
        if is_lost(result) and result.attempt <= self._replays:
            return [_Due(name, result.matchup, attempt=result.attempt + 1)]
        if needs_stand_in(result):
            stand_in = result.matchup.undefended()
            undefended = matchup_id(stand_in)
            if not self._has_ended(undefended):
                self._waiting_for_undefended.setdefault(undefended, []).append(result)
                return [] if undefended in under_way else [_Due(undefended, stand_in)]
            result = scored_as(result, self._journal.result_of(undefended))
        self._record(name, replace(result, key=self._key_of(result.matchup)))
        for faulty in self._waiting_for_undefended.pop(name, []):
            scored = replace(scored_as(faulty, result), key=self._key_of(faulty.matchup))
            self._record(matchup_id(faulty.matchup), scored)
        return []

    def _has_ended(self, name: str) -> bool:
        return name in self._journal or name in self._given_up

    def _record(self, name: str, result: MatchResult, *, reused: bool = False) -> None:
        """Write a result to disk, then to the tracker, which may fail without harm."""
        self._done += name in self._wanted and not self._has_ended(name)
        self._journal.append(result, reused=reused)
        if is_lost(result):
            self._given_up.add(name)
        try:
            self._tracker.record(result)
        except ArenaError as error:
            self._tracking_failed = str(error)

    def _report(self, playing: Collection[str], last: MatchResult | None) -> None:
        left = len(self._wanted) - self._done - len(playing)
        self._on_progress(Progress(done=self._done, running=len(playing), left=left, last=last))
