"""The referee: plays matchups through a runner, settles faults by the rules, and records the results.

The caller provides its connections to the outside: a `Runner`, a `Tracker` and a `Journal`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from arena.contracts import ArenaError, MatchResult, Matchup, Runner, Tracker, matchup_id
from arena.referee.journal import Journal
from arena.referee.settlement import is_final, needs_stand_in, scored_as

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
    tracking_failed: str = ""  # why results did not reach the tracker; they are on disk in any case


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
    ) -> None:
        """``known`` holds results of other runs by key; ``on_progress`` is called after a result and while waiting."""
        self._runner, self._tracker, self._journal = runner, tracker, journal
        self._key_of, self._known, self._on_progress = key_of, dict(known or {}), on_progress
        self._finished = {
            matchup_id(result.matchup): result
            for result in journal.results
            if result.verdict.outcome != "infrastructure"  # a match that the infrastructure lost is played again
        }
        self._waiting_for_undefended: dict[str, list[MatchResult]] = {}
        self._tracking_failed = ""

    def run(self, matchups: Sequence[Matchup]) -> Summary:
        """Play every matchup that has no result yet, and return all results in the order of ``matchups``."""
        wanted = {matchup_id(matchup): matchup for matchup in matchups}
        reused = self._reuse(wanted.values())
        queue = deque((matchup, 1) for name, matchup in wanted.items() if name not in self._finished)
        playing: set[str] = set()
        self._report(wanted, playing, None)
        while queue or playing:
            while queue and len(playing) < self._runner.slots:
                matchup, attempt = queue.popleft()
                playing.add(matchup_id(matchup))
                self._runner.submit(matchup, attempt=attempt)
            for result in self._runner.advance(timeout=WAIT_SECONDS):
                playing.discard(matchup_id(result.matchup))
                queue.extendleft(self._settle(result, playing, queue))
                self._report(wanted, playing, result)
            self._report(wanted, playing, None)
        return Summary(
            results=tuple(self._finished[name] for name in wanted),
            reused=reused,
            tracking_failed=self._tracking_failed,
        )

    def _reuse(self, matchups: Iterable[Matchup]) -> int:
        """Reuse results of other runs that have the same key, and return their number."""
        taken = 0
        for matchup in matchups:
            if matchup_id(matchup) not in self._finished:
                known = self._known.get(self._key_of(matchup))
                if known is not None and is_final(known) and known.verdict.outcome != "infrastructure":
                    self._record(replace(known, matchup=matchup), reused=True)  # names and paths may differ
                    taken += 1
        return taken

    def _settle(
        self, result: MatchResult, playing: set[str], queue: Iterable[tuple[Matchup, int]]
    ) -> list[tuple[Matchup, int]]:
        """Record a result, or return the matchups that must be played before it can be recorded."""
        if not is_final(result):
            return [(result.matchup, result.attempt + 1)]
        if needs_stand_in(result):
            stand_in = result.matchup.undefended()
            name = matchup_id(stand_in)
            if name not in self._finished:
                self._waiting_for_undefended.setdefault(name, []).append(result)
                under_way = name in playing or any(matchup_id(matchup) == name for matchup, _ in queue)
                return [] if under_way else [(stand_in, 1)]
            result = scored_as(result, self._finished[name])
        self._record(replace(result, key=self._key_of(result.matchup)))
        for faulty in self._waiting_for_undefended.pop(matchup_id(result.matchup), []):
            self._record(replace(scored_as(faulty, result), key=self._key_of(faulty.matchup)))
        return []

    def _record(self, result: MatchResult, *, reused: bool = False) -> None:
        """Write a result to disk, then to the tracker, which may fail without harm."""
        self._journal.append(result, reused=reused)
        self._finished[matchup_id(result.matchup)] = result
        try:
            self._tracker.record(result)
        except ArenaError as error:
            self._tracking_failed = str(error)

    def _report(self, wanted: Mapping[str, Matchup], playing: set[str], last: MatchResult | None) -> None:
        done = sum(name in self._finished for name in wanted)
        self._on_progress(Progress(done=done, running=len(playing), left=len(wanted) - done - len(playing), last=last))
