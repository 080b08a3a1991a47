"""Made-up results for a payoff matrix: fidelities in percent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from arena.contracts import MatchResult, Spec, Verdict
from tests.tracking.matches import MATCHUP

UTILITY = {
    "utility/accuracy": (90, 100),
    "utility/clean_accuracy": (90, 100),
    "utility/kept": (100, 100),
    "utility/one_hot": (0, 100),
}


def result(
    attack: str,
    defense: str,
    fidelity: int | None,
    *,
    seed: int = 0,
    counts: Mapping[str, tuple[int, int]] | None = None,
    l1: float = 0.1,
) -> MatchResult:
    """A match of two names; ``fidelity`` None is one that the infrastructure ended."""
    missing = fidelity is None
    return MatchResult(
        matchup=replace(MATCHUP, attack=Spec(name=attack), defense=Spec(name=defense), seed=seed),
        attempt=3 if missing else 1,
        verdict=Verdict(outcome="infrastructure", fault="arena") if missing else Verdict(outcome="completed"),
        isolation="in-process",
        counts={} if missing else {"a/fidelity": (fidelity or 0, 100), **UTILITY, **(counts or {})},
        measures={} if missing else {"utility/l1": l1},
    )


def table(cells: Mapping[tuple[str, str], list[int | None]]) -> list[MatchResult]:
    """Results of (attack, defense) cells over seeds."""
    return [
        result(attack, defense, value, seed=seed)
        for (attack, defense), values in cells.items()
        for seed, value in enumerate(values)
    ]
