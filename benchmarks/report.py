"""What a report of 2,000 matches costs: the time to build it, its size, and its first paint in headless Chromium.

Run: ``python benchmarks/report.py``. Prints markdown rows. The matches are made up: 20 attacks against 20 defenses on 5
seeds, with honest traffic, curves and threats, as a tournament records them. Exits with 1 when a figure is above what is
demanded. Without Chromium, the first paint is not measured, and the script says so.
"""

from __future__ import annotations

import itertools
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from browser import PROGRAM, browser

from arena.contracts import Count, CountName, Knowledge, MatchResult, Matchup, MeasureName, Spec, Verdict
from arena.metrics.honest_outcomes import pack
from arena.report.page.render import page
from arena.report.record import RunRecord
from arena.report.sections.story import story_of

ATTACKS, DEFENSES, SEEDS = 20, 20, 5
SETTINGS = 8  # of the second tournament
TEST_ROWS, HONEST_ROWS, HONEST_SPLIT = 400, 450, 200
CURVE = (25, 50)
PAINTS = 5  # loads; the median counts
DEMANDED_SECONDS, DEMANDED_BYTES, DEMANDED_PAINT = 10.0, 10_000_000, 1_000.0  # the last one in milliseconds


def results() -> list[MatchResult]:
    """Return the matches of a tournament with one row for each attack and one column for each defense."""
    rng = torch.Generator().manual_seed(0)
    places = itertools.product(range(ATTACKS), range(DEFENSES), range(SEEDS))
    return [_match(attack, defense, seed, rng) for attack, defense, seed in places]


def results_of_settings() -> list[MatchResult]:
    """Return as many matches, divided among `SETTINGS` query budgets."""
    rng = torch.Generator().manual_seed(0)
    places = itertools.product(range(SETTINGS), range(ATTACKS // 2), range(DEFENSES // 4), range(SEEDS))
    return [_match(attack, defense, seed, rng, budget=100 * (1 + number)) for number, attack, defense, seed in places]


def _match(attack: int, defense: int, seed: int, rng: torch.Generator, *, budget: int = 100) -> MatchResult:
    level = 0.9 - 0.01 * attack - 0.02 * defense
    counts = {
        CountName(f"{track}/{what}"): _count(level, TEST_ROWS, rng)
        for track in ("a", "a-hard", "b", *(f"curve/{rows}/a" for rows in CURVE))
        for what in ("fidelity", "accuracy")
    }
    asked = torch.randint(HONEST_SPLIT, (HONEST_ROWS,), generator=rng)
    right = torch.rand(HONEST_ROWS, generator=rng) > 0.001 * defense
    correct = int(right.sum())
    counts |= {
        CountName("floor/fidelity"): Count(40, TEST_ROWS),
        CountName("victim/accuracy"): Count(380, TEST_ROWS),
        CountName("utility/accuracy"): Count(correct, HONEST_ROWS),
        CountName("utility/clean_accuracy"): Count(HONEST_ROWS, HONEST_ROWS),
        CountName("utility/kept"): Count(correct, HONEST_ROWS),
        CountName("utility/one_hot"): Count(0, HONEST_ROWS),
        CountName("threat/evasion/0.1/pgd"): _count(0.4, 100, rng),
        CountName("threat/evasion/0.1/control"): _count(0.1, 100, rng),
    }
    return MatchResult(
        matchup=Matchup(
            victim=Spec(name="digits"),
            victim_seed=0,
            defense=Spec(name="none") if defense == 0 else Spec(name=f"defense-{defense}"),
            knowledge=Knowledge(),
            attack=Spec(name="knockoff") if attack == 0 else Spec(name=f"attack-{attack}"),
            pool="same",
            budget=budget,
            seed=seed,
        ),
        attempt=1,
        verdict=Verdict(outcome="completed"),
        isolation="process",
        key="0" * 32,
        transcript_digest="1" * 32,
        clone_digest="2" * 32,
        spent=100,
        rows=100,
        distinct_rows=100,
        calls=1,
        counts=counts,
        measures={MeasureName("utility/l1"): 0.02 * defense, MeasureName("attack/steps"): 500.0},
        honest=pack(asked, clean=asked >= 0, right=right, split=HONEST_SPLIT),
    )


def _count(share: float, total: int, rng: torch.Generator) -> Count:
    return Count(int((torch.rand(total, generator=rng) < share).sum()), total)


def first_paint(path: Path) -> float | None:
    """Return the median time to the first contentful paint in milliseconds, None without Chromium."""
    if shutil.which(PROGRAM) is None:
        return None
    paints = []
    with browser() as opened:
        opened.look(width=1440)
        for _ in range(PAINTS):
            opened.open(path.as_uri())
            found = opened.evaluate(
                "new Promise(done => new PerformanceObserver((list) => list.getEntries().forEach("
                "(one) => one.name === 'first-contentful-paint' && done(one.startTime)"
                ")).observe({type: 'paint', buffered: true}))"
            )
            assert isinstance(found, int | float)
            paints.append(float(found))
    return statistics.median(paints)


def main() -> int:
    played = tuple(results())
    start, before = time.perf_counter(), time.process_time()
    text = page(story_of(RunRecord(name="benchmark", results=played)))
    seconds, busy = time.perf_counter() - start, time.process_time() - before
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(text, encoding="utf-8")
        size, paint = path.stat().st_size, first_paint(path)
    print(f"| report of {len(played):,} matches | figure | demanded |\n| --- | ---: | ---: |")
    print(f"| built in | {seconds:.1f} s | {DEMANDED_SECONDS:.0f} s |")
    print(f"| CPU time of that | {busy:.1f} s | |")
    print(f"| size | {size / 1e6:.1f} MB | {DEMANDED_BYTES / 1e6:.0f} MB |")
    shown = "not measured: there is no Chromium" if paint is None else f"{paint:.0f} ms"
    print(f"| first paint | {shown} | {DEMANDED_PAINT:.0f} ms |")
    divided = tuple(results_of_settings())
    start, before = time.perf_counter(), time.process_time()
    page(story_of(RunRecord(name="benchmark", results=divided)))
    several, several_busy = time.perf_counter() - start, time.process_time() - before
    print(f"| built in, {len(divided):,} matches of {SETTINGS} settings | {several:.1f} s | {DEMANDED_SECONDS:.0f} s |")
    print(f"| CPU time of that | {several_busy:.1f} s | |")
    seconds = max(seconds, several)
    return int(seconds > DEMANDED_SECONDS or size > DEMANDED_BYTES or (paint is not None and paint > DEMANDED_PAINT))


if __name__ == "__main__":
    sys.exit(main())
