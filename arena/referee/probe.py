"""Measures what matches take without playing them in full: every training is cut short, and the rest extrapolated.

A probe has a cache and ledgers of its own, so that nothing that it trains is ever used.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from arena.contracts import Matchup
from arena.learning.training import cut_short
from arena.match.deployment import ledger_path
from arena.match.play import LocalStages
from arena.match.site import Site
from arena.match.stages import Match, Stage
from arena.registry import build_attack, build_defense

TIMED_STEPS = 20  # of each training
PLAY_SECONDS = 10.0  # after which an attack that does not train by batches is stopped, and the rest extrapolated
LEAST_SHARE = 0.01  # of the budget: what an attack that was stopped earlier would take is not extrapolated further


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What one match takes: CPU seconds by stage, bytes by what they hold, and what is wrong if it cannot be told."""

    seconds: Mapping[Stage, float]
    ledger_bytes: int = 0
    cached_bytes: int = 0
    artefacts: tuple[str, ...] = ()  # cache keys of the victim, the surrogate and the defense
    failed: str = ""  # why a stage failed; the stages after it are not measured

    @property
    def training(self) -> float:
        """CPU seconds of what is trained once for many matches."""
        return self.seconds.get("victim", 0.0) + self.seconds.get("prepare", 0.0)

    @property
    def match(self) -> float:
        """CPU seconds of the rest, which every match takes."""
        return sum(seconds for stage, seconds in self.seconds.items() if stage not in ("victim", "prepare"))


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Plays matches cut short at a site whose cache and ledgers are the probe's own."""

    site: Site
    timed: int = TIMED_STEPS
    play_seconds: float = PLAY_SECONDS
    _sizes: dict[Path, int] = field(default_factory=dict)

    def of(self, matchup: Matchup) -> Probed:
        """Play one match cut short, and return what it takes in full."""
        site = replace(self.site, limits=replace(self.site.limits, play=self.play_seconds))
        match = Match(matchup, attempt=1, isolation="in-process")
        stages = LocalStages(
            match, attack=build_attack(matchup.attack), defense=build_defense(matchup.defense), site=site
        )
        seconds: dict[Stage, float] = {}
        with cut_short(timed=self.timed) as short:
            while match.ending is None:
                stage, before, left_out = match.stage, time.process_time(), short.seconds
                match.take(match.begin(stages))
                seconds[stage] = time.process_time() - before + short.seconds - left_out
        result = match.ending.result
        if match.report.timed:
            spent = max(result.spent / matchup.budget, LEAST_SHARE)
            seconds["play"] /= spent
        path = ledger_path(site, matchup, 1)
        return Probed(
            seconds=seconds,
            ledger_bytes=path.stat().st_size if path.exists() else 0,
            cached_bytes=self._newly_cached(),
            artefacts=stages.defended.artefacts if stages.defended is not None else (),
            failed=result.verdict.reason if result.verdict.outcome != "completed" and not match.report.timed else "",
        )

    def _newly_cached(self) -> int:
        """Return the bytes that the cache has grown by since it was last asked."""
        sizes = {path: path.stat().st_size for path in self.site.cache.glob("*.safetensors")}
        grown = sum(sizes.values()) - sum(self._sizes.values())
        self._sizes.update(sizes)
        return grown


def peak_memory() -> int:
    """Return the largest number of bytes that this process has held in memory so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
