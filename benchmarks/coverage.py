"""Whether 95 % intervals cover, rank intervals hold and differences are real: simulated tournaments with known truth.

``python benchmarks/coverage.py`` prints markdown tables and exits with 1 where a demand is missed: 95 % intervals cover at
least 93 %, all rank intervals of a group hold at once in at least 95 %, players are told apart falsely in at most 5 %. A
rate misses its demand if it is worse by more than two standard errors of so many repetitions. Above 97 % the width that is
too much is stated. The modules of `benchmarks/simulation` say how tournaments are
made; the rule for ranks that the package had before stands beside the present one.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from simulation.ranks import DEFENSES, LEVEL, PATTERNS, Attacks, Defenses, Group, Records, repeated
from simulation.tournaments import IMAGES, Array, mixed_spreads, play, true_shares
from simulation.traffic import Traffic

from arena.metrics.decision_cost import decision_cost
from arena.metrics.differences import difference_interval
from arena.metrics.extremes import largest_mean, smallest_maximum
from arena.metrics.intervals import MIN_SEEDS, Interval
from arena.metrics.shared_variance import share_intervals

REPETITIONS, SEED = 1_000, 2026
COVERED, JOINT, FALSE = 0.93, 0.95, 0.05  # demands
TOO_WIDE, NOMINAL = 0.97, 0.95
STANDARD_ERRORS = 2.0
SEEDS, RANKED_SEEDS = (3, 5, 10), (5, 10)
PLAYERS = (3, 5, 8, 19)
SPREADS = (0.01, 0.02, 0.04)


@dataclass(kw_only=True)
class Covered:
    """How far truth lies from the estimate, in arms of the interval on that side; one entry a repetition and interval."""

    distances: list[float] = field(default_factory=list)
    halves: list[float] = field(default_factory=list)

    def see(self, truth: float, interval: Interval) -> None:
        if interval.low is None or interval.high is None:
            return
        arm = interval.high - interval.mean if truth > interval.mean else interval.mean - interval.low
        self.distances.append(abs(truth - interval.mean) / max(arm, 1e-12))
        self.halves.append((interval.high - interval.low) / 2)

    @property
    def rate(self) -> float:
        return float(np.mean(np.array(self.distances) <= 1 + 1e-9))

    def __str__(self) -> str:
        if not self.distances:
            return "none"
        needed = float(np.quantile(self.distances, NOMINAL))
        excess = f", {100 * (1 / needed - 1):.0f} % too wide" if self.rate > TOO_WIDE and needed > 0 else ""
        return f"{100 * self.rate:.1f} (±{100 * float(np.mean(self.halves)):.2f}{excess})"


class Demands:
    """The demands that were looked at, and those that were missed."""

    def __init__(self, repetitions: int) -> None:
        self.repetitions, self.checked, self.missed = repetitions, 0, list[str]()

    def at_least(self, rate: float, demand: float, what: str, *, rows: int = 1) -> None:
        """Demand a rate of one row, or of several together."""
        self._check(demand - rate, demand, f"{what}: {100 * rate:.1f} %, at least {100 * demand:.0f} %", rows)

    def at_most(self, rate: float, demand: float, what: str, *, rows: int = 1) -> None:
        self._check(rate - demand, demand, f"{what}: {100 * rate:.1f} %, at most {100 * demand:.0f} %", rows)

    def _check(self, short: float, demand: float, words: str, rows: int) -> None:
        self.checked += 1
        if short > STANDARD_ERRORS * math.sqrt(demand * (1 - demand) / (self.repetitions * rows)):
            self.missed.append(words)


# --- coverage of intervals


def print_intervals(demands: Demands, random: np.random.Generator) -> None:
    print("\n## 95 % intervals: coverage in % (mean half-width in points)\n")
    print("| what | " + " | ".join(f"{seeds} seeds" for seeds in SEEDS) + " |\n|---|" + "--:|" * len(SEEDS))
    rows: dict[str, dict[int, Covered]] = {}
    for seeds, (noise, spread) in itertools.product(SEEDS, {"1": 0.01, "3": 0.03, "1 to 5": None}.items()):
        for _ in range(demands.repetitions):
            for what, truth, interval in _cells_and_means(seeds, spread, random):
                rows.setdefault(f"{what}, own noise {noise} points", {}).setdefault(seeds, Covered()).see(
                    truth, interval
                )
    for seeds, (gap, spread) in itertools.product(SEEDS, itertools.product((0.0, 0.05, 0.2), (0.003, 0.01, 0.03))):
        for _ in range(demands.repetitions):
            truth, interval = _difference(seeds, gap, spread, random)
            name = f"difference of {100 * gap:g} points, own noise {100 * spread:g}"
            rows.setdefault(name, {}).setdefault(seeds, Covered()).see(truth, interval)
    for seeds, (pattern, below) in itertools.product(SEEDS, PATTERNS.items()):
        for _ in range(demands.repetitions):
            for what, truth, interval in _worst_cases(seeds, below, random):
                rows.setdefault(f"{what}, {pattern}", {}).setdefault(seeds, Covered()).see(truth, interval)
    _print_coverage(rows, demands)


def _print_coverage(rows: Mapping[str, Mapping[int, Covered]], demands: Demands) -> None:
    for name, by_seeds in sorted(rows.items()):
        print(f"| {name} | " + " | ".join(str(by_seeds[seeds]) for seeds in SEEDS) + " |")
        for seeds, found in by_seeds.items():
            if found.distances:
                demands.at_least(found.rate, COVERED, f"{name}, {seeds} seeds, covered")


def _cells_and_means(
    seeds: int, spread: float | None, random: np.random.Generator
) -> Iterator[tuple[str, float, Interval]]:
    """Return (what, truth, interval) of 8 attacks x 6 defenses, and of each attack's mean over them."""
    means = LEVEL - np.linspace(0, 0.1, 8)[:, None] - np.linspace(0, 0.15, DEFENSES)
    own: Array | float = mixed_spreads(means.size, random).reshape(means.shape) if spread is None else spread
    played = play(means, own, seeds=seeds, rng=random)
    truth = true_shares(means, own, played.difficulty)
    cells = share_intervals(played.values.reshape(-1, seeds).tolist(), images=IMAGES)
    yield from (("cell", share, cell) for share, cell in zip(truth.ravel().tolist(), cells, strict=True))
    rows = share_intervals(played.values.mean(axis=1).tolist(), images=IMAGES * DEFENSES)
    yield from (("mean over 6 cells", share, row) for share, row in zip(truth.mean(axis=1).tolist(), rows, strict=True))


def _difference(seeds: int, gap: float, spread: float, random: np.random.Generator) -> tuple[float, Interval]:
    means = np.array([[LEVEL], [LEVEL - gap]])
    played = play(means, spread, seeds=seeds, rng=random)
    truth = true_shares(means, spread, played.difficulty)[:, 0]
    differences = played.values[0, 0] - played.values[1, 0]
    return float(truth[0] - truth[1]), difference_interval(differences.tolist(), images=IMAGES)


def _worst_cases(
    seeds: int, below: Sequence[Sequence[float]], random: np.random.Generator
) -> Iterator[tuple[str, float, Interval]]:
    """Return (what, truth, interval) of the largest mean of one defense, and of the smallest such over five points."""
    means = np.array([LEVEL - np.array(below[place % len(below)]) / 100 for place in range(5)]).T
    played = play(means, 0.03, seeds=seeds, rng=random)
    truth = true_shares(means, 0.03, played.difficulty).max(axis=0)
    tables = played.values.transpose(1, 0, 2).tolist()
    yield "worst case", float(truth[0]), largest_mean(tables[0], images=IMAGES).interval
    yield "least worst case of 5", float(truth.min()), smallest_maximum(tables, images=IMAGES).interval


# --- coverage of costs


def print_costs(demands: Demands, random: np.random.Generator) -> None:
    print("\n## Accuracy lost on honest images: coverage in % (mean half-width in points)\n")
    print(
        "| images | asked a seed | flips | attacks | shift | " + " | ".join(f"{seeds} seeds" for seeds in SEEDS) + " |"
    )
    print("|--:|--:|--:|--:|--:|" + "--:|" * len(SEEDS))
    for traffic in _traffics():
        found = {seeds: Covered() for seeds in SEEDS}
        for seeds, _ in itertools.product(SEEDS, range(demands.repetitions)):
            cost = decision_cost(traffic.outcomes(seeds, random))
            estimate = Interval(mean=(cost.low + cost.high) / 2, n=seeds, low=cost.low, high=cost.high)
            found[seeds].see(traffic.true_loss, estimate)
        words = f"{traffic.images:,} | {100 * traffic.asked:.0f} % | {100 * traffic.flips:g} % | {traffic.attacks}"
        words += f" | {traffic.shift:g}"
        print(f"| {words} | " + " | ".join(str(found[seeds]) for seeds in SEEDS) + " |")
        for seeds, one in found.items():
            demands.at_least(one.rate, COVERED, f"cost {words.replace(' |', ',')}, {seeds} seeds, covered")


def _traffics() -> list[Traffic]:
    small = [
        Traffic(images=200, flips=flips, attacks=attacks, shift=shift)
        for flips, attacks, shift in itertools.product((0.004, 0.012, 0.04, 0.1), (1, 11), (0.0, 0.15))
    ]
    moving = [Traffic(images=200, flips=flips, attacks=4, shift=0.3) for flips in (0.004, 0.012, 0.04, 0.1)]
    large = [Traffic(images=1_000, flips=flips, attacks=4, shift=0.15) for flips in (0.004, 0.012, 0.04, 0.1)]
    partly = [Traffic(images=2_000, flips=flips, attacks=4, shift=0.15, asked=0.25) for flips in (0.004, 0.04)]
    return [*small, *moving, *large, *partly]


# --- ranks


def print_attack_ranks(demands: Demands, random: np.random.Generator) -> None:
    print("\n## Ranks of attacks, by the mean over six defenses\n")
    kinds: dict[str, Group] = {
        f"{'mixed' if mixed else 'same'} noise{', copies' if tied else ''}": Attacks(mixed=mixed, tied=tied)
        for tied, mixed in itertools.product((False, True), (False, True))
    }
    _print_equal_players(kinds, demands, random)
    _print_unequal_players(Attacks(mixed=True, tied=True), "mixed noise, copies among them", demands, random)


def print_defense_ranks(demands: Demands, random: np.random.Generator) -> None:
    print("\n## Ranks of defenses, by the worst case over attacks\n")
    kinds: dict[str, Group] = {pattern: Defenses(pattern=pattern) for pattern in PATTERNS}
    _print_equal_players({**kinds, "usual, copies": Defenses(pattern="usual", tied=True)}, demands, random)
    _print_unequal_players(Defenses(pattern="usual"), "pattern usual, mixed noise", demands, random)


def _print_equal_players(kinds: Mapping[str, Group], demands: Demands, random: np.random.Generator) -> None:
    print("Equal players: told apart falsely, and all rank intervals right at once, in % of tournaments.\n")
    heads = [f"{seeds} seeds: {what}" for seeds in RANKED_SEEDS for what in ("false", "joint", "old rule false")]
    print("| players | kind | " + " | ".join(heads) + " |\n|--:|---|" + "--:|" * len(heads))
    for players in PLAYERS:
        everything: dict[int, list[Records]] = {seeds: [] for seeds in RANKED_SEEDS}
        for name, group in kinds.items():
            for seeds, so_far in everything.items():
                found = repeated(group, players, spread=0, seeds=seeds, repetitions=demands.repetitions, rng=random)
                _demand_of_ranks(demands, [found], f"{players} equal players, {name}, {seeds} seeds")
                so_far.append(found)
            print(
                f"| {players} | {name} | "
                + " | ".join(_null_cells([so_far[-1:] for so_far in everything.values()]))
                + " |"
            )
        for seeds, together in everything.items():
            _demand_of_ranks(demands, together, f"{players} equal players, all kinds, {seeds} seeds")
        print(f"| {players} | all kinds | " + " | ".join(_null_cells(list(everything.values()))) + " |", flush=True)


def _null_cells(by_seeds: Sequence[Sequence[Records]]) -> list[str]:
    """Return for each number of seeds how often ranks were false, right at once, and false by the old rule."""
    return [
        _percent(rates)
        for found in by_seeds
        for rates in (
            [rate for one in found for rate in one.new.false],
            [rate for one in found for rate in one.new.joint],
            [rate for one in found for rate in one.old.false],
        )
    ]


def _print_unequal_players(group: Group, words: str, demands: Demands, random: np.random.Generator) -> None:
    print(
        f"\nUnequal players ({words}): pairs found in % (tournaments with a false one), mean width of the rank intervals in % of "
        "all ranks.\n"
    )
    heads = [
        f"{seeds} seeds: {what}"
        for seeds in RANKED_SEEDS
        for what in ("found (false)", "width", "old rule found (false)")
    ]
    print("| players | spread | " + " | ".join(heads) + " |\n|--:|--:|" + "--:|" * len(heads))
    for players, spread in itertools.product(PLAYERS, SPREADS):
        cells = []
        for seeds in RANKED_SEEDS:
            found = repeated(group, players, spread=spread, seeds=seeds, repetitions=demands.repetitions, rng=random)
            _demand_of_ranks(demands, [found], f"{players} players, spread {100 * spread:g} points, {seeds} seeds")
            now, before = (f"{_percent(one.found)} ({_percent(one.false)})" for one in (found.new, found.old))
            cells += [now, _percent(found.new.widths), before]
        print(f"| {players} | {100 * spread:g} | " + " | ".join(cells) + " |", flush=True)


def _demand_of_ranks(demands: Demands, found: Sequence[Records], name: str) -> None:
    false, joint = (float(np.mean([getattr(one.new, what) for one in found])) for what in ("false", "joint"))
    demands.at_most(false, FALSE, f"{name}, told apart falsely", rows=len(found))
    demands.at_least(joint, JOINT, f"{name}, all ranks right", rows=len(found))


def _percent(shares: Sequence[float]) -> str:
    return f"{100 * float(np.mean(shares)):.1f}"


SECTIONS: Mapping[str, Callable[[Demands, np.random.Generator], None]] = {
    "intervals": print_intervals,
    "costs": print_costs,
    "attacks": print_attack_ranks,
    "defenses": print_defense_ranks,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", default=list(SECTIONS), metavar=f"{{{','.join(SECTIONS)}}}")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--seed", type=int, default=SEED)
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.sections) - set(SECTIONS):
        parser.error(f"no section is called {', '.join(sorted(unknown))}: there are {', '.join(SECTIONS)}")
    demands = Demands(chosen.repetitions)
    started = time.process_time()
    print(
        f"{chosen.repetitions:,} repetitions of each row, generator seed {chosen.seed}; ranks from {MIN_SEEDS} seeds on."
    )
    for number, name in enumerate(chosen.sections):
        SECTIONS[name](demands, np.random.default_rng([chosen.seed, number]))
    print(
        f"\n{demands.checked} demands looked at, {len(demands.missed)} missed; {time.process_time() - started:.0f} CPU s."
    )
    for words in demands.missed:
        print(f"* missed: {words}")
    return 1 if demands.missed else 0


if __name__ == "__main__":
    sys.exit(main())
