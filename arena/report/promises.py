"""The promises that defenses make about their answers, and how often they broke them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arena.contracts import Count, CountName
from arena.contracts import scores as names
from arena.payoff.matrix import PayoffMatrix, pooled
from arena.report.players import Player, player_of

PROMISES: Mapping[CountName, str] = {
    names.ARGMAX_BROKEN: "the same decision",
    names.L1_BROKEN: "a bounded L1 shift",
}


@dataclass(frozen=True, kw_only=True)
class BrokenPromise:
    """A promise that a defense broke on some of its answers."""

    defense: Player
    promise: str
    broken: Count


def promises(matrix: PayoffMatrix) -> tuple[tuple[BrokenPromise, ...], int]:
    """Return the promises that were broken, and how many rows were checked, once for each promise made."""
    broken, checked = [], 0
    for defense, (name, words) in itertools.product(matrix.defenses, PROMISES.items()):
        count = pooled(matrix.of_defense(defense), name)
        checked += count.total
        if count.hits:
            broken.append(BrokenPromise(defense=player_of(matrix, defense), promise=words, broken=count))
    return tuple(broken), checked


def promise_sentences(broken: Sequence[BrokenPromise], checked: int) -> list[str]:
    """Return a sentence for each broken promise, or one that says on how many rows all were kept."""
    if checked and not broken:
        return [f"No promise was broken, checked {checked:,} times on rows as they were sent."]
    return [
        f"{one.defense.name} broke its promise of {one.promise} on {one.broken.hits:,} of {one.broken.total:,} rows."
        for one in broken
    ]
