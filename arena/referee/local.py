"""Plays matches in this process, one after another on the calling thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from arena.contracts import MatchResult, Matchup
from arena.match.play import Transport, in_process, play
from arena.match.site import Site
from arena.oracle.meter import Meter
from arena.referee.outlook import Outlook
from arena.registry import build_attack, build_defense


class LocalRunner:
    """Plays without a network or a cluster. Time limits are checked between calls: a stage cannot be killed here."""

    slots = 1

    def __init__(self, site: Site, *, transport: Transport = in_process) -> None:
        self._site, self._transport = site, transport
        self._meter = Meter()
        self._queue: deque[tuple[Matchup, int]] = deque()

    @property
    def outlook(self) -> Outlook:
        """What the oracles have done so far."""
        return Outlook(reading=self._meter.reading)

    def submit(self, matchup: Matchup, *, attempt: int) -> None:
        self._queue.append((matchup, attempt))

    def advance(self, *, timeout: float) -> Iterator[MatchResult]:
        """Play the next match, however long it takes, and yield its result."""
        if self._queue:
            matchup, attempt = self._queue.popleft()
            yield play(
                matchup,
                attack=build_attack(matchup.attack),
                defense=build_defense(matchup.defense),
                site=self._site,
                attempt=attempt,
                transport=self._transport,
                meter=self._meter,
            )

    def close(self) -> None:
        self._queue.clear()
