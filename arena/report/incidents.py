"""What went wrong in a tournament, or is to be known before comparing: missing, failed, flagged and unfinished matches."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from arena.contracts import MatchResult, Matchup, matchup_id
from arena.contracts import scores as names
from arena.contracts.flags import MEANINGS
from arena.payoff.matrix import attack_label, defense_label
from arena.report.record import RunRecord


@dataclass(frozen=True, kw_only=True)
class Incident:
    """Matches of one cell to which the same thing happened; ``seeds`` says on which."""

    attack: str
    defense: str
    budget: int
    seeds: tuple[int, ...]
    what: str
    consequence: str


@dataclass(frozen=True, kw_only=True)
class Incidents:
    """Everything of that kind in one tournament."""

    missing: tuple[Incident, ...]
    failed: tuple[Incident, ...]
    stopped_early: tuple[Incident, ...]
    flagged: tuple[Incident, ...]
    not_finite: tuple[Incident, ...]

    @property
    def matches_missing(self) -> int:
        """The number of planned matches without a result that are named."""
        return sum(len(one.seeds) for one in self.missing)


CONSEQUENCES = {
    "attack": "scored by what the referee's clones learn from its answers",
    "defense": "scored as if there were no defense",
    "arena": "missing from every table",
    "nobody": "",
}
"""What follows from a failed match, by whose fault it was."""


def incidents(record: RunRecord) -> Incidents:
    """Return the incidents of a run, one for each cell and kind."""
    results = record.results
    failed = [one for one in results if one.verdict.outcome != "completed"]
    return Incidents(
        missing=_grouped((one, "no result", "missing from every table") for one in record.missing),
        failed=_grouped((one.matchup, _failure(one), CONSEQUENCES[one.verdict.fault]) for one in failed),
        stopped_early=_grouped(_early(results)),
        flagged=_grouped((one.matchup, flag, MEANINGS.get(flag, "")) for one in results for flag in one.flags),
        not_finite=_grouped(
            (one.matchup, f"{name} is not finite", "every mean that includes it is not finite either")
            for one in results
            for name, value in one.measures.items()
            if not math.isfinite(value)
        ),
    )


def unspent(result: MatchResult) -> int:
    """Return the units of the budget that an attack left."""
    return int(result.measures.get(names.UNSPENT, 0)) if math.isfinite(result.measures.get(names.UNSPENT, 0)) else 0


def outcomes(results: Iterable[MatchResult]) -> Counter[str]:
    """Return how many matches ended in each way."""
    return Counter(result.verdict.outcome for result in results)


def _early(results: Sequence[MatchResult]) -> list[tuple[Matchup, str, str]]:
    return [
        (one.matchup, "stopped before the budget was spent", "compared with attacks that queried more rows")
        for one in results
        if one.verdict.outcome == "completed" and unspent(one)
    ]


def _failure(result: MatchResult) -> str:
    verdict = result.verdict
    stage = f" in stage {verdict.stage}" if verdict.stage else ""
    reason = f": {verdict.reason}" if verdict.reason else ""
    return f"{verdict.outcome}{stage}, fault: {verdict.fault}{reason}"


def _grouped(found: Iterable[tuple[Matchup, str, str]]) -> tuple[Incident, ...]:
    """Return one incident per cell and kind, with all of its seeds."""
    seeds: dict[tuple[str, str, int, str, str], list[int]] = {}
    for matchup, what, consequence in sorted(found, key=lambda one: matchup_id(one[0])):
        attack = attack_label(matchup.attack, informed=matchup.informed)
        defense = defense_label(matchup.defense, matchup.knowledge)
        seeds.setdefault((attack, defense, matchup.budget, what, consequence), []).append(matchup.seed)
    return tuple(
        Incident(
            attack=attack,
            defense=defense,
            budget=budget,
            seeds=tuple(sorted(found)),
            what=what,
            consequence=consequence,
        )
        for (attack, defense, budget, what, consequence), found in sorted(seeds.items())
    )
