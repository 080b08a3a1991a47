"""The rule for a match with a fault: replay it if the infrastructure failed, or score a faulty defense as none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from arena.contracts import Count, CountName, MatchResult, Matchup, MeasureName
from arena.contracts.flags import SCORED_AS_NONE
from arena.contracts.scores import CLEAN_ACCURACY, HONEST_ACCURACY, KEPT

REPLAYS = 2  # how often a match that the infrastructure lost is played again, unless the tournament says otherwise


def is_lost(result: MatchResult) -> bool:
    """Return whether the infrastructure lost the match, so that its result does not stand."""
    return result.verdict.outcome == "infrastructure"


def is_last(attempt: int, replays: int) -> bool:
    """Return whether this is the last of several attempts."""
    return attempt > max(1, replays)


def needs_stand_in(result: MatchResult) -> bool:
    """Return whether the defense was at fault, so that the undefended match of the same seed gives the scores."""
    return result.verdict.fault == "defense" and not result.matchup.is_undefended


def scored_as(faulty: MatchResult, stand_in: MatchResult) -> MatchResult:
    """Return a faulty defense's result with its own utility, but with the undefended match's scores of the clones."""
    counts = {name: count for name, count in faulty.counts.items() if _is_the_defenses_own(name)}
    measures = {name: value for name, value in faulty.measures.items() if _is_the_defenses_own(name)}
    clones = {name: count for name, count in stand_in.counts.items() if not _is_the_defenses_own(name)}
    theirs = {name: value for name, value in stand_in.measures.items() if not _is_the_defenses_own(name)}
    return replace(
        faulty,
        counts={**clones, **counts, **_unanswered_as_wrong(faulty, stand_in)},
        measures={**theirs, **measures},
        flags=(*faulty.flags, SCORED_AS_NONE),
        confusion=stand_in.confusion,
    )


def settled(matchup: Matchup, play: Callable[[Matchup], MatchResult]) -> MatchResult:
    """Play a single match with ``play`` and return its result; a faulty defense is scored as none."""
    result = play(matchup)
    return scored_as(result, play(matchup.undefended())) if needs_stand_in(result) else result


def _is_the_defenses_own(name: CountName | MeasureName) -> bool:
    """Return whether a score belongs to the faulty match itself: its utility, promises, leak audit, attack or facts."""
    return name.startswith(("utility/", "promise/", "audit/", "attack/", "defense/"))


def _unanswered_as_wrong(faulty: MatchResult, stand_in: MatchResult) -> dict[CountName, Count]:
    """Count honest rows without an answer as wrong; the undefended match, which answered all, gives their number."""
    clean = stand_in.counts.get(CLEAN_ACCURACY)
    if clean is None:
        return {}
    nothing = Count(0, 0)
    kept, accuracy = (faulty.counts.get(name, nothing).hits for name in (KEPT, HONEST_ACCURACY))
    return {KEPT: Count(kept, clean.total), HONEST_ACCURACY: Count(accuracy, clean.total), CLEAN_ACCURACY: clean}
