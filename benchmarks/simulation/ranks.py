"""Groups of players with known order, ranked by the package and by the rule that it had before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from arena.metrics.extremes import largest_mean
from arena.metrics.rank_intervals import Comparisons, compare_all
from simulation.tournaments import IMAGES, Array, copies, mixed_spreads, play, spaced

LEVEL, DEFENSES, SAME_NOISE = 0.70, 6, 0.02
PATTERNS: Mapping[str, Sequence[Sequence[float]]] = {  # points below the worst attack, by turns of defenses
    "usual": [(0, 1, 4, 10)],
    "struct": [(0, 0, 0, 0), (0, 1, 4, 10), (0, 2, 8, 20)],
    "ladder": [tuple(range(11))],
    "adversary": [(0,) * 11, (0, *(5,) * 10)],
}
OLD_LEVEL = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulated:
    """A group as it was ranked: by the package and the old rule, beside the true values; which end is the best."""

    found: Comparisons
    old_above: NDArray[np.bool_]
    truth: Array
    largest_first: bool


class Group(Protocol):
    """Players whose true values are known."""

    def simulate(self, players: int, *, spread: float, seeds: int, rng: np.random.Generator) -> Simulated:
        """Play one tournament in which true values have this standard deviation, and rank it."""


@dataclass(frozen=True, kw_only=True)
class Attacks:
    """Attacks by their mean over six defenses; of ``mixed`` noise or of equal, ``tied``: some are the same player."""

    mixed: bool
    tied: bool

    def simulate(self, players: int, *, spread: float, seeds: int, rng: np.random.Generator) -> Simulated:
        who = copies(players) if self.tied else list(range(players))
        values = spaced(players, spread, rng)[who]
        noise = mixed_spreads(players, rng)[who] if self.mixed else np.full(players, SAME_NOISE)
        played = play(LEVEL + values[:, None] - np.linspace(0, 0.15, DEFENSES), noise[:, None], seeds=seeds, rng=rng)
        rows = played.values[who].mean(axis=1)
        found = compare_all(rows.tolist(), images=IMAGES * DEFENSES)
        assert found is not None, "ranks are simulated from five seeds on"
        return Simulated(found=found, old_above=old_order(rows, rows, largest=True), truth=values, largest_first=True)


@dataclass(frozen=True, kw_only=True)
class Defenses:
    """Defenses of mixed noise by their worst case over attacks that follow a pattern, shuffled in each defense."""

    pattern: str
    tied: bool = False

    def simulate(self, players: int, *, spread: float, seeds: int, rng: np.random.Generator) -> Simulated:
        who = copies(players) if self.tied else list(range(players))
        values = spaced(players, spread, rng)[who]
        kinds = PATTERNS[self.pattern]
        below = np.array([rng.permutation(kinds[place % len(kinds)]) for place in who]).T / 100
        noise = np.broadcast_to(mixed_spreads(players, rng)[who], below.shape)
        columns = play(LEVEL + values - below, noise, seeds=seeds, rng=rng).values[:, who].transpose(1, 0, 2)
        worst = [largest_mean(column.tolist(), images=IMAGES) for column in columns]
        rows = np.array([column[one.place] for column, one in zip(columns, worst, strict=True)])
        found = compare_all(rows.tolist(), images=IMAGES, candidates=[one.near for one in worst])
        assert found is not None, "ranks are simulated from five seeds on"
        left_out = np.array([_left_out(column) for column in columns])
        old = old_order(left_out, columns.max(axis=1), largest=False)
        return Simulated(found=found, old_above=old, truth=values, largest_first=False)


def _left_out(column: Array) -> Array:
    """Return the values (S,) of the attack that is the worst on the other seeds, for attacks (A, S): the old worst case."""
    elsewhere = (column.sum(axis=1, keepdims=True) - column).argmax(axis=0)
    return np.asarray(column[elsewhere, np.arange(column.shape[1])])


def old_order(sorted_by: Array, tested: Array, *, largest: bool) -> NDArray[np.bool_]:
    """Return which of K players the old rule put above which.

    Players (K, S) were sorted by the means of one number; one whose other number differed from that of the first of a rank
    by an unadjusted paired t test at 5 % began the next rank.
    """
    means = sorted_by.mean(axis=1)
    order = np.argsort(-means if largest else means, kind="stable")
    differences, seeds = tested[:, None] - tested, tested.shape[1]
    gaps, spreads = differences.mean(axis=2), differences.std(axis=2, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_values = np.where(gaps == 0, 1.0, 2 * special.stdtr(seeds - 1, -np.abs(gaps) * math.sqrt(seeds) / spreads))
    ranks, head = np.zeros(len(order), dtype=int), order[0]
    for place, player in enumerate(order):
        if place and p_values[head, player] < OLD_LEVEL:
            head, ranks[player] = player, place
        else:
            ranks[player] = ranks[head]
    ahead = ranks[:, None] < ranks
    return np.asarray(ahead if largest else ahead.T)


@dataclass(kw_only=True)
class Record:
    """What a procedure did in many tournaments, one entry each."""

    false: list[bool] = field(default_factory=list)  # some pair was ordered that is not so
    found: list[float] = field(default_factory=list)  # share of the pairs that differ
    joint: list[bool] = field(default_factory=list)  # every rank interval holds all ranks that its player may have
    widths: list[float] = field(default_factory=list)  # of the rank intervals, mean share of all ranks

    def see(self, above: NDArray[np.bool_], truth: Array) -> None:
        truly = truth[:, None] > truth + 1e-9
        self.false.append(bool((above & ~truly).any()))
        if truly.any():
            self.found.append(float((above & truly).sum() / truly.sum()))

    def see_ranks(self, one: Simulated) -> None:
        ranks = one.found.ranks(largest_first=one.largest_first)
        true = true_ranks(one.truth, largest_first=one.largest_first)
        holds = [rank.first <= first and last <= rank.last for rank, (first, last) in zip(ranks, true, strict=True)]
        self.joint.append(all(holds))
        self.widths.append(float(np.mean([(rank.last - rank.first) / (len(ranks) - 1) for rank in ranks])))


@dataclass(frozen=True, kw_only=True)
class Records:
    """The package's procedure beside the old rule."""

    new: Record
    old: Record


def repeated(
    group: Group, players: int, *, spread: float, seeds: int, repetitions: int, rng: np.random.Generator
) -> Records:
    """Return what both procedures did in so many tournaments."""
    records = Records(new=Record(), old=Record())
    for _ in range(repetitions):
        one = group.simulate(players, spread=spread, seeds=seeds, rng=rng)
        records.new.see(one.found.above, one.truth)
        records.new.see_ranks(one)
        records.old.see(one.old_above, one.truth)
    return records


def true_ranks(values: Array, *, largest_first: bool) -> list[tuple[int, int]]:
    """Return the first and the last of the ranks that each player shares with its equals."""
    table = values.round(9)
    ahead = table[:, None] > table if largest_first else table[:, None] < table
    return [(1 + int(ahead[:, place].sum()), len(table) - int(ahead[place].sum())) for place in range(len(table))]
