"""How a run scales: many matches of players that do nothing, more slots, many clients on one oracle host, and TLS.

Run: ``python benchmarks/scaling.py [idle] [referee] [slots] [clients] [tls]``; without a name, everything. Prints markdown tables.
``--matches 10000`` is the size at which `benchmarks/results/scaling.md` was measured; the default takes a minute.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from runner import UnscoringRunner, idle_attack
from scale.crowd import crowd_table
from scale.encryption import encryption_table

from arena.cluster.runner import RayRunner
from arena.contracts import Count, CountName, Knowledge, MatchResult, Matchup, Recipe, Spec, Verdict
from arena.match.site import Site
from arena.referee.journal import Journal
from arena.referee.keys import result_key
from arena.referee.outlook import Outlook
from arena.referee.referee import Progress, Referee
from arena.referee.tournament import Resources
from arena.registry import complete
from arena.report.files import write_results
from arena.runs.progress import ProgressFile
from arena.tracking.none import NoTracker

PARTS = 10  # into which the matches of a long run are divided
DEMANDED_SECONDS = 0.050  # a match of players that do nothing, at every point of the run
DEMANDED_SLOWDOWN = 1.2  # of the last part against the first
DEMANDED_GROWTH = 1.10  # of the driver's memory, between the first part and the last
DEMANDED_SHARE = 0.85  # of the ideal rate, with as many slots as cores
WARM_UP = 40  # matches
BYTES_A_PAGE, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How many matches were done at a moment, and what the driver had taken until then."""

    done: int
    wall: float  # seconds
    cpu: float  # seconds of the driver
    cpu_of_all: float  # seconds of the driver, Ray and the actors
    memory: float  # MB of the driver
    load: float  # of the machine, over the last minute


def cpu_below(root: int) -> float:
    """Return the CPU seconds of the processes that are below ``root`` now."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended in the meantime
        process = int(path.parent.name)
        parents[process] = int(fields[1])
        seconds[process] = (int(fields[11]) + int(fields[12])) / TICKS
    below = {root}
    while more := {process for process, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(seconds[process] for process in below - {root})


def mark(done: int) -> Mark:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    cpu = time.process_time()
    return Mark(
        done=done,
        wall=time.perf_counter(),
        cpu=cpu,
        cpu_of_all=cpu + cpu_below(os.getpid()),
        load=os.getloadavg()[0],
        memory=pages * BYTES_A_PAGE / 1e6,
    )


def terms(attack: Spec, *, steps: int | None = None) -> Matchup:
    return Matchup(
        victim=Spec(name="digits", params=(("arch", "linear"), ("steps", 10))),
        victim_seed=0,
        defense=Spec(name="none"),
        knowledge=Knowledge(),
        attack=attack,
        pool="same",
        budget=1,  # honest traffic mirrors the budget: next to nothing
        seed=0,
        recipe=Recipe(steps=steps),
    )


@contextmanager
def started(kind: type[RayRunner], work: Path, *, slots: int) -> Iterator[RayRunner]:
    runner = kind(Site(work=work / "ledgers", cache=work / "cache"), resources=Resources(slots=slots))
    try:
        yield runner
    finally:
        runner.close()


def played(runner: RayRunner | NullRunner, matchups: Sequence[Matchup], folder: Path, *, parts: int) -> list[Mark]:
    """Play matches as `arena run` does, with journal, keys and reports of progress, and return marks between parts."""
    folder.mkdir()
    told = ProgressFile(folder, slots=runner.slots, look=lambda: runner.outlook)
    marks = [mark(0)]

    def note(progress: Progress) -> None:
        told.note(progress)
        if progress.last is not None and progress.done % (len(matchups) // parts) == 0:
            marks.append(mark(progress.done))

    referee = Referee(
        runner=runner,
        tracker=NoTracker(),
        journal=Journal(folder),
        key_of=functools.partial(result_key, site=Site(work=folder)),
        on_progress=note,
    )
    results = referee.run(matchups).results
    assert all(result.verdict.outcome == "completed" for result in results)
    start = time.process_time()
    write_results(folder, results)
    print(f"results.json and results.csv of {len(results)} matches: {time.process_time() - start:.1f} CPU s\n")
    return marks


def idle(matches: int) -> bool:
    """Play players that do nothing, and return whether each match takes as long at the end as at the beginning."""
    slots = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name, started(UnscoringRunner, Path(name), slots=slots) as runner:
        attack = idle_attack(Path(name) / "nothing")
        one = terms(attack)
        played(runner, [replace(one, seed=matches + seed) for seed in range(WARM_UP)], Path(name) / "warm", parts=1)
        marks = played(runner, [replace(one, seed=seed) for seed in range(matches)], Path(name) / "run", parts=PARTS)
    print(f"| matches, {slots} at a time | wall ms a match | CPU ms of all | of the driver | MB of the driver | load |")
    print("|---|--:|--:|--:|--:|--:|")
    walls, cpus = [], []
    for before, after in itertools.pairwise(marks):
        number = after.done - before.done
        walls.append((after.wall - before.wall) / number)
        cpu = (after.cpu - before.cpu) / number
        cpus.append((after.cpu_of_all - before.cpu_of_all) / number)
        print(
            f"| up to {after.done:,} | {1e3 * walls[-1]:.1f} | {1e3 * cpus[-1]:.1f} | {1e3 * cpu:.1f} | "
            f"{after.memory:.0f} | {after.load:.1f} |"
        )
    slowdown, growth = walls[-1] / walls[0], marks[-1].memory / marks[1].memory
    print(
        f"\nLast part against the first: {slowdown:.2f} times the wall time, {cpus[-1] / cpus[0]:.2f} times the CPU time, "
        f"{growth:.3f} times the memory.\n"
    )
    return max(walls) <= DEMANDED_SECONDS and slowdown <= DEMANDED_SLOWDOWN and growth <= DEMANDED_GROWTH


class NullRunner:
    """Ends each match at once, with a result of usual size."""

    slots = 2
    counts: Mapping[CountName, Count] = {
        **{cast(CountName, f"curve/{rows}/a/fidelity"): Count(rows, 400) for rows in range(10, 200, 10)},
        cast(CountName, "a/fidelity"): Count(300, 400),
    }

    def __init__(self) -> None:
        self._queue: deque[tuple[Matchup, int]] = deque()

    @property
    def outlook(self) -> Outlook:
        return Outlook()

    def submit(self, matchup: Matchup, *, attempt: int) -> None:
        self._queue.append((matchup, attempt))

    def advance(self, *, timeout: float) -> Iterator[MatchResult]:
        matchup, attempt = self._queue.popleft()
        yield MatchResult(
            matchup=matchup,
            attempt=attempt,
            verdict=Verdict(outcome="completed"),
            isolation="none",
            counts=self.counts,
        )

    def close(self) -> None:
        self._queue.clear()


def referee(matches: int) -> bool:
    """Play without playing: keys, journal, reports of progress and the referee's own work."""
    with tempfile.TemporaryDirectory() as name:
        one = terms(complete("attack", Spec(name="knockoff")))
        marks = played(
            NullRunner(), [replace(one, seed=seed) for seed in range(matches)], Path(name) / "r", parts=PARTS
        )
    print("| matches, referee and journal alone | CPU ms a match | MB |\n|---|--:|--:|")
    cpus = []
    for before, after in itertools.pairwise(marks):
        cpus.append((after.cpu - before.cpu) / (after.done - before.done))
        print(f"| up to {after.done:,} | {1e3 * cpus[-1]:.2f} | {after.memory:.0f} |")
    slowdown, growth = cpus[-1] / cpus[0], marks[-1].memory / marks[1].memory
    print(f"\nLast part against the first: {slowdown:.2f} times the CPU time, {growth:.3f} times the memory.\n")
    return slowdown <= DEMANDED_SLOWDOWN and growth <= DEMANDED_GROWTH


def slots(matches: int) -> bool:
    """Play small real matches with one slot and more, and return whether the cores are used."""
    most = os.cpu_count() or 1
    rates: dict[int, float] = {}
    knockoff = Spec(name="knockoff", params=(("steps", 300),))
    print("| slots | matches a minute | of the ideal | load of the machine |\n|--:|--:|--:|--:|")
    for number in sorted({1, most}):
        with tempfile.TemporaryDirectory() as name, started(RayRunner, Path(name), slots=number) as runner:
            one = replace(terms(knockoff, steps=300), budget=100)
            warm = [replace(one, seed=matches + seed) for seed in range(2 * number)]
            played(runner, warm, Path(name) / "warm", parts=1)
            first, last = played(
                runner, [replace(one, seed=seed) for seed in range(matches)], Path(name) / "r", parts=1
            )
        rates[number] = 60 * matches / (last.wall - first.wall)
        share = rates[number] / (number * rates[1])
        print(f"| {number} | {rates[number]:.1f} | {share:.2f} | {os.getloadavg()[0]:.1f} |")
    return rates[most] >= DEMANDED_SHARE * most * rates[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=["idle", "referee", "slots", "clients", "tls", []], help="what to measure"
    )
    parser.add_argument("--matches", type=int, default=500, help="matches of players that do nothing")
    parser.add_argument("--seconds", type=float, default=10.0, help="for which the clients ask")
    options = parser.parse_args()
    wanted = options.parts or ["idle", "referee", "slots", "clients", "tls"]
    met = []
    if "idle" in wanted:
        met.append(idle(options.matches))
    if "referee" in wanted:
        met.append(referee(options.matches))
    if "slots" in wanted:
        met.append(slots(24))
    if "clients" in wanted:
        met.append(crowd_table(seconds=options.seconds))
    if "tls" in wanted:
        encryption_table()
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
