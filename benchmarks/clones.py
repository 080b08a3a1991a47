"""What it saves to train each clone of the referee once: the demo's first seed, with and without the shared cache.

Run: ``python benchmarks/clones.py``. Plays the same matches in this process twice and prints a markdown table of CPU
seconds and trainings. Exits with 1 if a single count differs, or if less is saved than demanded.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from arena.contracts import Count, CountName, Matchup
from arena.match.play import play
from arena.match.secret import Secret
from arena.match.site import Site
from arena.match.victims import load_victim
from arena.referee.tournament_file import read_tournament
from arena.registry import build_attack, build_defense
from arena.runs.presets import find_tournament

SEED = 0
DEMANDED_SAVING = 0.2  # of the CPU seconds of all matches


@dataclass(frozen=True, kw_only=True)
class Played:
    """What playing all matches took and came to."""

    cpu: float
    clones: int  # files that were trained
    counts: list[dict[CountName, Count]]


def matchups_of_one_seed() -> list[Matchup]:
    tournament = read_tournament(find_tournament("demo"))
    return replace(tournament, seeds=(SEED,)).matchups()


def played(matchups: list[Matchup], folder: Path, *, shared: bool) -> Played:
    """Play every match; with ``shared`` False each one finds no clone of another in its cache."""
    site = Site(work=folder / "ledgers", cache=folder / "cache", secret=Secret.stated("demo"))
    load_victim(matchups[0].victim, matchups[0].victim_seed, site)  # its training is not what is compared
    counts, trained, started = [], 0, time.process_time()
    for matchup in matchups:
        attack, defense = build_attack(matchup.attack), build_defense(matchup.defense)
        counts.append(dict(play(matchup, attack=attack, defense=defense, site=site).counts))
        if not shared:
            trained += forget_clones(site.cache)
    cpu = time.process_time() - started
    return Played(cpu=cpu, clones=trained + forget_clones(site.cache), counts=counts)


def forget_clones(cache: Path) -> int:
    """Remove the referee's clones from a cache, and return how many there were."""
    found = list(cache.glob("clone-*.safetensors"))
    for path in found:
        path.unlink()
    return len(found)


def main() -> int:
    matchups, folder = matchups_of_one_seed(), Path(tempfile.mkdtemp(prefix="arena-clones-"))
    try:
        apart, shared = (played(matchups, folder / str(way), shared=way) for way in (False, True))
    finally:
        shutil.rmtree(folder)
    saved = 1 - shared.cpu / apart.cpu
    print(f"| {len(matchups)} matches of the demo, seed {SEED} | trainings | CPU s |\n|---|--:|--:|")
    print(f"| each match trains its own clones | {apart.clones} | {apart.cpu:.1f} |")
    print(f"| equal clones are trained once | {shared.clones} | {shared.cpu:.1f} |")
    print(f"| saved | {apart.clones - shared.clones} | {saved:.0%} |")
    same = apart.counts == shared.counts
    print(f"\nAll counts equal: {same}; demanded saving: {DEMANDED_SAVING:.0%}.")
    return 0 if same and saved >= DEMANDED_SAVING else 1


if __name__ == "__main__":
    sys.exit(main())
