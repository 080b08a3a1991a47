"""What a match takes in memory: knockoff asks every row of a pool of 3x32x32 levels, and the referee scores the match.

``python benchmarks/memory.py`` plays one match for each of ``--rows``, each in a process of its own, and prints a
markdown table: the rows as they are packed (one byte a value), the process's peak of resident memory with everything in
it (the base is what the libraries take before the match), the wall and the CPU seconds of the whole, of the attack and of scoring. Data set and network cost next to nothing,
so that memory is what is measured. Exits with 1 if a peak is above what was demanded. With ``--json`` it plays the first
of ``--rows`` in this process and prints its figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

import torch

from arena.contracts import UNDEFENDED, Knowledge, Matchup, Recipe, Spec
from arena.contracts import scores as names
from arena.data.dataset import Dataset
from arena.match.play import play
from arena.match.site import Site
from arena.registry import build_attack, build_defense

SHAPE, CLASSES = (3, 32, 32), 10
BESIDE = {"training": 1_000, "validation": 100, "honest": 1_000, "test": 1_000}
STEPS = 200
MB = 10**6
DEMANDED_FACTOR, DEMANDED_REST = 1.2, 500 * MB
DEMANDED_FROM = 100_000  # rows: below, a match is mostly libraries
DEMANDED_MOST = 4_000 * MB


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one match took, in bytes and seconds."""

    rows: int
    packed: int
    base: int  # resident before the match, mostly libraries
    peak: int
    wall: float
    cpu: float
    attack_cpu: float
    score_cpu: float

    @property
    def demanded(self) -> float:
        if self.rows < DEMANDED_FROM:
            return float("inf")
        return min(DEMANDED_FACTOR * self.packed + DEMANDED_REST, DEMANDED_MOST)


def generated(name: str, *, rows: int) -> Dataset:
    """Random levels and labels, as many as the pool and the other splits need."""
    rng = torch.Generator().manual_seed(0)
    total = rows + sum(BESIDE.values())
    return Dataset(
        name=name,
        stored=torch.randint(256, (total, *SHAPE), generator=rng, dtype=torch.uint8),
        labels=torch.randint(CLASSES, (total,), generator=rng),
        class_names=tuple(map(str, range(CLASSES))),
    )


def matchup_of(rows: int) -> Matchup:
    sizes = {"pool": rows, **BESIDE}
    return Matchup(
        victim=Spec(name="generated", params=(("arch", "linear"), ("steps", STEPS), *sizes.items())),
        victim_seed=0,
        defense=UNDEFENDED,
        knowledge=Knowledge(),
        attack=Spec(name="knockoff", params=(("arch", "linear"), ("steps", STEPS))),
        pool="same",
        budget=rows,
        seed=0,
        recipe=Recipe(arch="linear", steps=STEPS),
    )


def peak_bytes() -> int:
    """The most memory that was resident in this process so far. `resource` would count its parent's in."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def measure(rows: int) -> Cost:
    """Play a match with so many rows here, and return what this process has taken since it started."""
    base, matchup, wall = peak_bytes(), matchup_of(rows), time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("arena.match.victims.load", lambda name, **_: generated(name, rows=rows)),
    ):
        result = play(
            matchup,
            attack=build_attack(matchup.attack),
            defense=build_defense(matchup.defense),
            site=Site(work=Path(folder) / "ledgers", cache=Path(folder) / "cache"),
        )
    assert (result.verdict.outcome, result.rows) == ("completed", rows), result.verdict
    return Cost(
        rows=rows,
        packed=rows * SHAPE[0] * SHAPE[1] * SHAPE[2],
        base=base,
        peak=peak_bytes(),
        wall=time.perf_counter() - wall,
        cpu=time.process_time(),
        attack_cpu=result.measures[names.ATTACK_CPU_SECONDS],
        score_cpu=result.measures[names.SCORE_CPU_SECONDS],
    )


def measured_apart(rows: int) -> Cost:
    """Measure in a process of its own."""
    program = [sys.executable, __file__, "--json", "--rows", str(rows)]
    return Cost(**json.loads(subprocess.run(program, stdout=subprocess.PIPE, check=True).stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.json:
        print(json.dumps(asdict(measure(arguments.rows[0]))))
        return
    print("| rows | packed MB | base MB | peak MB | demanded MB | wall s | CPU s | of it attack | scoring |")
    print(f"|{'--:|' * 9}")
    costs = []
    for rows in arguments.rows:
        cost = measured_apart(rows)
        costs.append(cost)
        memory = " | ".join(f"{value / MB:,.0f}" for value in (cost.packed, cost.base, cost.peak))
        demanded = f"{cost.demanded / MB:,.0f}" if cost.rows >= DEMANDED_FROM else "-"
        times = " | ".join(f"{value:.1f}" for value in (cost.wall, cost.cpu, cost.attack_cpu, cost.score_cpu))
        print(f"| {rows:,} | {memory} | {demanded} | {times} |", flush=True)
    sys.exit(any(cost.peak > cost.demanded for cost in costs))


if __name__ == "__main__":
    main()
