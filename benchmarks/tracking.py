"""What recording a match in MLflow costs: milliseconds of wall and CPU time, and the share of a ten-second match.

Run: ``python benchmarks/tracking.py``. Exits with 1 when a record takes a larger share, or more CPU time,
than demanded.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from arena.contracts import Count, Knowledge, MatchResult, Matchup, Spec, Tracker, Verdict
from arena.contracts.scores import clone_count, curve_track, threat_count, threat_measure
from arena.tracking.background import BackgroundTracker
from arena.tracking.mlflow import MlflowTracker

MATCHES = 100
MATCH_SECONDS = 10.0
DEMANDED_SHARE = 0.03
DEMANDED_CPU = 0.035  # seconds a match
COUNTS = 30
MEASURES = 15


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What something took."""

    wall: float  # seconds
    cpu: float  # seconds, all threads of this process


def result(seed: int) -> MatchResult:
    """Return a result of the usual size."""
    return MatchResult(
        matchup=Matchup(
            victim=Spec(name="digits", params=(("arch", "small-cnn"),)),
            victim_seed=0,
            defense=Spec(name="mad", params=(("epsilon", 0.5), ("surrogate", "random"))),
            knowledge=Knowledge(surrogate="random"),
            attack=Spec(name="knockoff", params=(("arch", "auto"),)),
            pool="near",
            budget=400,
            seed=seed,
        ),
        attempt=1,
        verdict=Verdict(outcome="completed"),
        isolation="process",
        spent=400,
        rows=400,
        distinct_rows=400,
        calls=2,
        counts={threat_count("benchmark", f"{index}"): Count(index, COUNTS) for index in range(COUNTS)}
        | {clone_count(curve_track(rows), "fidelity"): Count(rows, 400) for rows in (100, 200, 300, 400)},
        measures={threat_measure("benchmark", f"{index}"): index / MEASURES for index in range(MEASURES)},
    )


def cost(action: Callable[[], None]) -> Cost:
    """Return what one call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return Cost(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def row(name: str, took: Cost) -> str:
    """Return a row of the table."""
    return f"| {name} | {took.wall * 1e3:.2f} | {took.cpu * 1e3:.2f} | {took.wall / MATCH_SECONDS:.2%} |"


def per_match(tracker: Tracker) -> Cost:
    """Return the medians over matches of what `record` takes of its caller."""
    costs = [cost(partial(tracker.record, result(seed))) for seed in range(MATCHES)]
    return Cost(wall=median(each.wall for each in costs), cpu=median(each.cpu for each in costs))


def main() -> int:
    """Print the table; return 1 when tracking takes more of a match than demanded."""
    print(f"| {MATCHES} matches | wall ms | CPU ms | share of a {MATCH_SECONDS:g} s match |\n|---|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        direct = MlflowTracker.for_folder(folder)
        print(row("start, new database (once)", cost(lambda: direct.start("benchmark", ""))))
        sent = per_match(direct)
        print(row("record", sent))
        queued = BackgroundTracker(MlflowTracker(f"sqlite:///{folder / 'mlflow.db'}", execution="queued"))
        queued.start("benchmark", "")
        print(row("record, as a match waits for it", per_match(queued)))
        print(row("close, with all of them in the queue", cost(queued.close)))
        direct.close()
    return int(sent.wall / MATCH_SECONDS > DEMANDED_SHARE or sent.cpu > DEMANDED_CPU)


if __name__ == "__main__":
    sys.exit(main())
