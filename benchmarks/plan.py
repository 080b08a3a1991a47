"""Does `arena plan` say beforehand what a tournament takes? Plans against real runs of four different tournaments.

``python benchmarks/plan.py`` plans and then plays each tournament in benchmarks/tournaments/plan in this process, with
empty caches. The ratio of real to planned CPU seconds must lie within a factor of 1.5. Wall time is the same where the
cores are free; ``load`` says how many processes wanted one.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from arena.match.secret import Secret
from arena.match.site import Site
from arena.referee.journal import Journal
from arena.referee.local import LocalRunner
from arena.referee.referee import Referee
from arena.referee.tournament import Tournament
from arena.referee.tournament_file import read_tournament
from arena.runs.planning import plan
from arena.tracking.none import NoTracker

TOURNAMENTS = Path(__file__).parent / "tournaments" / "plan"
FACTOR = 1.5


@dataclass(frozen=True, kw_only=True)
class Took:
    """CPU and wall seconds, and the bytes that were written."""

    cpu: float
    wall: float
    disk: int


def took_in_full(tournament: Tournament, site: Site) -> Took:
    """Play a tournament at a site, one match after another, and return what it took."""
    runner = LocalRunner(site)
    site.work.mkdir(parents=True)
    cpu, wall = time.process_time(), time.perf_counter()
    Referee(
        runner=runner, tracker=NoTracker(), journal=Journal(site.work), key_of=lambda matchup: f"{matchup.seed}"
    ).run(tournament.matchups())
    written = sum(path.stat().st_size for folder in (site.work, site.cache) for path in folder.iterdir())
    return Took(cpu=time.process_time() - cpu, wall=time.perf_counter() - wall, disk=written)


def main() -> int:
    print("| tournament | matches | cells probed | probe s | planned CPU s | real CPU s | real : planned | wall s | load "
          "| planned MB | real MB |")  # fmt: skip
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    worst = 1.0
    for path in sorted(TOURNAMENTS.glob("*.toml")):
        tournament = read_tournament(path)
        with tempfile.TemporaryDirectory() as folder:
            site = Site(
                work=Path(folder) / "ledgers",
                cache=Path(folder) / "cache",
                secret=Secret.stated(tournament.secret or ""),
            )
            start = time.perf_counter()
            planned = plan(tournament, site, slots=1, known={})
            probing = time.perf_counter() - start
            took = took_in_full(tournament, replace(site, pictures=None))
        ratio = took.cpu / planned.cpu_seconds
        worst = max(worst, math.exp(abs(math.log(ratio))))
        print(
            f"| {path.stem} | {planned.matches} | {planned.probed} of {planned.cells} | {probing:.1f} "
            f"| {planned.cpu_seconds:.1f} | {took.cpu:.1f} | {ratio:.2f} | {took.wall:.1f} | {os.getloadavg()[0]:.1f} "
            f"| {planned.disk / 1e6:.1f} | {took.disk / 1e6:.1f} |",
            flush=True,
        )
    print(f"\nThe largest factor between plan and run is {worst:.2f}; at most {FACTOR} is demanded.")
    return int(worst > FACTOR)


if __name__ == "__main__":
    sys.exit(main())
