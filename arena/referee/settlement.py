"""The rule for a match that did not end well: replay it, or score a faulty defense as if there had been none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from arena.contracts import Count, CountName, MatchResult, Matchup
from arena.contracts.scores import CLEAN_ACCURACY, HONEST_ACCURACY, KEPT

MAX_REPLAYS = 2  # of a match that ended through the infrastructure's fault
SCORED_AS_NONE = "scored as none"


def is_final(result: MatchResult) -> bool:
    """Whether nothing more needs to be played for this result."""
    return result.verdict.outcome != "infrastructure" or result.attempt > MAX_REPLAYS


def needs_stand_in(result: MatchResult) -> bool:
    """Whether a result is scored by the undefended match of the same seed: its defense was at fault."""
    return result.verdict.fault == "defense" and not result.matchup.is_undefended


def scored_as(faulty: MatchResult, stand_in: MatchResult) -> MatchResult:
    """Return a faulty defense's result with the clone scores of the undefended match, and the utility that it had."""
    kept = {name: value for name, value in faulty.counts.items() if _is_the_defenses_own(name)}
    scores = {name: value for name, value in stand_in.counts.items() if not _is_the_defenses_own(name)}
    return replace(
        faulty,
        counts={**scores, **kept, **_unanswered_as_wrong(faulty, stand_in)},
        flags=(*faulty.flags, SCORED_AS_NONE),
    )


def settled(matchup: Matchup, play: Callable[[Matchup], MatchResult]) -> MatchResult:
    """Return the result of a single match, which ``play`` plays; a faulty defense is scored as none."""
    result = play(matchup)
    return scored_as(result, play(matchup.undefended())) if needs_stand_in(result) else result


def _is_the_defenses_own(name: CountName) -> bool:
    return name.startswith(("utility/", "promise/"))


def _unanswered_as_wrong(faulty: MatchResult, stand_in: MatchResult) -> dict[CountName, Count]:
    """Count the honest rows that a faulty defense never answered as wrong; the undefended match answered them all."""
    clean = stand_in.counts.get(CLEAN_ACCURACY)
    if clean is None:
        return {}
    nothing = Count(0, 0)
    kept, accuracy = (faulty.counts.get(name, nothing).hits for name in (KEPT, HONEST_ACCURACY))
    return {KEPT: Count(kept, clean.total), HONEST_ACCURACY: Count(accuracy, clean.total), CLEAN_ACCURACY: clean}
