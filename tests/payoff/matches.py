"""Match results made of numbers, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from arena.contracts import HonestOutcomes, Knowledge, MatchResult, Matchup, Spec, Verdict
from arena.metrics.honest_outcomes import pack

TOTAL = 1_000
NOTHING = Knowledge()
COMPLETED = Verdict(outcome="completed")
CRASHED = Verdict(outcome="infrastructure", fault="arena", stage="play", reason="the node went away")


def match(
    attack: str | Spec = "knockoff",
    defense: str | Spec = "none",
    *,
    seed: int = 0,
    fidelity: int | None = 800,
    informed: bool = False,
    counts: Mapping[str, tuple[int, int]] | None = None,
    measures: Mapping[str, float] | None = None,
    knowledge: Knowledge = NOTHING,
    verdict: Verdict = COMPLETED,
    flags: tuple[str, ...] = (),
    outcomes: HonestOutcomes | None = None,
) -> MatchResult:
    """A match whose attack's own clone has ``fidelity`` of 1,000 rows (None: there is none), and the floor 100."""
    scores = {"floor/fidelity": (100, TOTAL), "floor/accuracy": (100, TOTAL), "victim/accuracy": (950, TOTAL)}
    if fidelity is not None:
        scores |= {"b/fidelity": (fidelity, TOTAL), "b/accuracy": (fidelity, TOTAL)}
    return MatchResult(
        matchup=Matchup(
            victim=Spec(name="digits"),
            victim_seed=0,
            defense=Spec(name=defense) if isinstance(defense, str) else defense,
            knowledge=knowledge,
            attack=Spec(name=attack) if isinstance(attack, str) else attack,
            informed=informed,
            pool="same",
            budget=100,
            seed=seed,
        ),
        attempt=1,
        verdict=verdict,
        isolation="in-process",
        counts={**scores, **(counts or {})},
        measures=measures or {},
        flags=flags,
        spent=100,
        rows=100,
        distinct_rows=100,
        calls=1,
        honest=outcomes,
    )


def honest(*, lost: int, changed: int, rows: int = TOTAL, one_hot: int = 0) -> dict[str, tuple[int, int]]:
    """Counts of honest traffic: decisions that were right and no longer are, and all that changed."""
    return {
        "utility/accuracy": (rows - lost, rows),
        "utility/clean_accuracy": (rows, rows),
        "utility/kept": (rows - changed, rows),
        "utility/one_hot": (one_hot, rows),
    }


def by_image(*, lost: int, rows: int = TOTAL, times: int = 1) -> HonestOutcomes:
    """Outcomes of images that were each asked so often: the victim reads all, the answers to the first are wrong."""
    asked = torch.arange(rows).repeat(times)
    return pack(asked, clean=asked >= 0, right=asked >= lost, split=rows)


def over_seeds(attack: str, defense: str, fidelities: Sequence[int], *, lost: int = 0) -> list[MatchResult]:
    """One match a seed, with a cheap honest traffic that keeps its scores."""
    counts, outcomes = honest(lost=lost, changed=lost), by_image(lost=lost)
    return [
        match(attack, defense, seed=seed, fidelity=fidelity, counts=counts, outcomes=outcomes)
        for seed, fidelity in enumerate(fidelities)
    ]
