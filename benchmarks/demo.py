"""What the demo spends beside its trainings: wall time x cores / CPU seconds of its trainings, start-up apart.

``python benchmarks/demo.py`` plays the preset ``demo`` on Ray with an empty cache and prints markdown rows. The CPU
seconds are those that attacks (their queries and clones) and the referee's scoring (its clones) spent in their own
processes, and the victim's training. Start-up is the time to the first result, less what that match itself took.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from arena.contracts.scores import ATTACK_CPU_SECONDS, ATTACK_WALL_SECONDS, SCORE_CPU_SECONDS, SCORE_WALL_SECONDS
from arena.match.site import Site
from arena.match.victims import load_victim
from arena.referee.referee import Progress
from arena.referee.tournament import SeededVictim
from arena.referee.tournament_file import read_tournament
from arena.runs.folder import Settings, create_run_folder, site_of
from arena.runs.playing import admit_all, play_run
from arena.runs.presets import find_tournament

DEMAND = 1.8


def main() -> None:
    terms = read_tournament(find_tournament("demo"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        training = victim_seconds(terms.victims[0], folder)
        settings = Settings(cache=str(folder / "cache"))
        admitted = admit_all(terms, site_of(folder / "run", terms, settings))
        matchups = admitted.matchups
        create_run_folder(folder / "run", terms, settings, admitted)
        started = time.perf_counter()
        first: list[tuple[float, float]] = []

        def watch(progress: Progress) -> None:
            if progress.last is not None and not first:
                measures = progress.last.measures
                own = measures[ATTACK_WALL_SECONDS] + measures[SCORE_WALL_SECONDS] + training
                first.append((time.perf_counter() - started, own))

        summary = play_run(folder / "run", terms, settings, matchups, reuse=[], on_progress=watch)
        wall = time.perf_counter() - started
    ended, own = first[0]
    start_up = max(0.0, ended - own)
    keys = (ATTACK_CPU_SECONDS, SCORE_CPU_SECONDS)
    cpu = training + sum(result.measures[key] for result in summary.results for key in keys)
    cores = os.cpu_count() or 1
    ratio = (wall - start_up) * cores / cpu
    print("\n| figure | measured | demand |\n|---|---|---|")
    print(f"| matches | {len(summary.results)} | 75 |")
    print(f"| wall seconds, all | {wall:.0f} | 300 |")
    print(f"| of these start-up | {start_up:.0f} | - |")
    print(f"| CPU seconds of trainings | {cpu:.0f} | - |")
    print(f"| (wall - start-up) x {cores} cores / CPU seconds of trainings | {ratio:.2f} | {DEMAND} |")


def victim_seconds(seeded: SeededVictim, folder: Path) -> float:
    """Return the CPU seconds of the victim's training, done apart."""
    spec, seed = seeded.victim, seeded.seed
    start = time.process_time()
    load_victim(spec, seed, Site(work=folder, cache=folder / "apart"))
    return time.process_time() - start


if __name__ == "__main__":
    main()
