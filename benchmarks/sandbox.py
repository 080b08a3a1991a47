"""What the sandbox costs, and whether it holds: start-up, training inside, killing, a match, hostile clones, promises.

Run: ``python benchmarks/sandbox.py``. Prints a markdown table with what is demanded, and the load of the machine, on
which times depend. Exits with 1 if something is above its demand, or if a promise does not hold.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from arena.contracts import AttackFault, Matchup, Spec
from arena.entries.loading import SandboxedEntries
from arena.learning.architectures import build
from arena.learning.randomness import generator
from arena.match.clones import unpack_clone
from arena.match.play import play
from arena.match.site import Site
from arena.registry import build_attack, build_defense, complete, loader_in_use
from arena.sandbox.bubblewrap import Bubblewrap
from arena.sandbox.interpreter import interpreter
from arena.sandbox.job import Job
from arena.sandbox.promises import try_all
from tests.hostile.clone_files import TASK, hostile_files
from tests.players import MATCHUP

MIB = 2**20
STARTS, TRAININGS, KILLS, MATCHES = 30, 3, 20, 3
START_MS, SLOWER_INSIDE, KILL_MS, MATCH_SECONDS = 60.0, 0.05, 200.0, 0.5
CLONE_MS, CLONE_MIB, CLONE_FILES = 100.0, 200.0, 12
START_SECONDS = 0.2  # until all processes of a program that is to be killed run
STARTER = Path(__file__).parents[1] / "agents" / "starter_attack"

TRAINING = """
import time, torch
from arena.contracts import Task
from arena.learning.architectures import build
from arena.learning.randomness import generator
from arena.learning.training import fit, one_hot
rng = generator(0, "benchmark")
network = build("small-cnn", Task(shape=(1, 28, 28), classes=10), rng=rng)
inputs, labels = torch.rand(1_000, 1, 28, 28, generator=rng), torch.randint(10, (1_000,), generator=rng)
fit(network, inputs, one_hot(labels, 10), steps=20, rng=rng)
started = time.process_time()
fit(network, inputs, one_hot(labels, 10), steps=200, rng=rng)
print(time.process_time() - started)
"""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A line of the table; ``met`` is None where nothing is demanded."""

    what: str
    measured: str
    demanded: str = ""
    met: bool | None = None


def start_up(sandbox: Bubblewrap) -> Figure:
    """Run a program that does nothing, in a sandbox and outside, one after the other."""
    job = Job(argv=("/bin/true",))
    inside, outside = [], []
    for _ in range(STARTS):
        inside.append(milliseconds(lambda: sandbox.start(job).wait()))
        outside.append(milliseconds(lambda: subprocess.run(job.argv, check=True)))
    more = statistics.median(inside) - statistics.median(outside)
    measured = (
        f"{more:.0f} ms ({statistics.median(inside):.0f} inside, {statistics.median(outside):.1f} outside; "
        f"fastest {min(inside):.0f} and {min(outside):.1f})"
    )
    return Figure(
        what="start-up over a bare process, median", measured=measured, demanded="< 60 ms", met=more < START_MS
    )


def training(sandbox: Bubblewrap) -> Figure:
    """Train a network in the same interpreter, in a sandbox and outside; CPU seconds, which the load affects least."""
    python = interpreter()
    argv = python.argv("-c", TRAINING)
    job = Job(argv=argv, mounts=python.mounts, hidden=python.hidden, environment=python.environment)
    outside_environment = {**os.environ, **python.environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    inside, outside = [], []
    for _ in range(TRAININGS):
        inside.append(float(sandbox.start(job).wait().result))
        ran = subprocess.run((sys.executable, "-c", TRAINING), env=outside_environment, capture_output=True, check=True)
        outside.append(float(ran.stdout))
    slower = statistics.median(inside) / statistics.median(outside) - 1
    measured = f"{slower:+.1%} ({statistics.median(inside):.2f} against {statistics.median(outside):.2f} CPU s)"
    return Figure(
        what="training inside against outside", measured=measured, demanded="within 5 %", met=slower < SLOWER_INSIDE
    )


def killing(sandbox: Bubblewrap) -> Figure:
    """Kill a program that has started others, and wait until its group is empty and removed."""
    taken = [killed(sandbox) for _ in range(KILLS)]
    median = statistics.median(taken)
    measured = f"{median:.0f} ms (slowest {max(taken):.0f})"
    return Figure(
        what="kill to empty and removed group, median", measured=measured, demanded="< 200 ms", met=median < KILL_MS
    )


def killed(sandbox: Bubblewrap) -> float:
    """Start a program with children, kill it, and return the milliseconds until nothing is left."""
    script = "for i in 1 2 3 4 5; do setsid sleep 600 & done; sleep 600"
    box = sandbox.start(Job(argv=("/bin/sh", "-c", script)))
    waiting = threading.Thread(target=box.wait)
    waiting.start()
    time.sleep(START_SECONDS)

    def end() -> None:
        box.kill()
        waiting.join()

    return milliseconds(end)


def match(folder: Path) -> Iterator[Figure]:
    """Play the same attack as a built-in and as an entry, whose description is in the cache by then."""
    site = Site(work=folder / "ledgers", cache=folder / "cache")
    own = replace(MATCHUP, attack=complete("attack", MATCHUP.attack))
    with loader_in_use(SandboxedEntries(cache=site.cache)):
        entry = replace(MATCHUP, attack=complete("attack", Spec(name=str(STARTER), params=MATCHUP.attack.params)))
        for matchup in (own, entry):
            attack_seconds(matchup, site)
        apart = [(attack_seconds(entry, site), attack_seconds(own, site)) for _ in range(MATCHES)]
    wall = statistics.median(inside[0] - outside[0] for inside, outside in apart)
    cpu = statistics.median(inside[1] - outside[1] for inside, outside in apart)
    measured = f"{wall:.1f} s more, of which {cpu:.1f} CPU s: importing torch and this package, once for each match"
    yield Figure(
        what="playing an entry against a built-in", measured=measured, demanded="< 0.5 s", met=wall < MATCH_SECONDS
    )


def attack_seconds(matchup: Matchup, site: Site) -> tuple[float, float]:
    """Play a match, and return the wall and CPU seconds of the attack's play."""
    result = play(matchup, attack=build_attack(matchup.attack), defense=build_defense(matchup.defense), site=site)
    assert result.verdict.outcome == "completed", result.verdict
    return result.measures["attack/wall_seconds"], result.measures["attack/cpu_seconds"]  # type: ignore[index]  # both are there


def clone_files(folder: Path) -> Figure:
    """Hand in every hostile file."""
    build("resnet18", replace(TASK, shape=(3, 32, 32)), rng=generator(0, "imports"))  # imports torchvision once
    slowest, largest, refused = 0.0, 0.0, 0
    files = hostile_files(folder / "touched")
    for data in files.values():
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        try:
            unpack_clone(data, TASK)
        except AttackFault:
            refused += 1
        slowest = max(slowest, (time.perf_counter() - started) * 1e3)
        largest = max(largest, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    executed = (folder / "touched").exists()
    met = refused == len(files) >= CLONE_FILES and not executed and slowest < CLONE_MS and largest < CLONE_MIB
    measured = f"{refused} of {len(files)} refused, {'SOME' if executed else 'none'} executed, slowest {slowest:.0f} ms, {largest:.0f} MiB"
    return Figure(what="hostile clone files", measured=measured, demanded="all of >= 12, < 100 ms, < 200 MiB", met=met)


def promises(sandbox: Bubblewrap) -> Figure:
    """Try every promise, as `arena doctor` does."""
    tried = try_all(sandbox)
    broken = [one.promise for one in tried if not one.holds]
    measured = f"{len(tried) - len(broken)} of {len(tried)} hold{': not ' + ', '.join(broken) if broken else ''}"
    return Figure(what="promises that hold", measured=measured, demanded="all", met=not broken)


def left_behind(sandbox: Bubblewrap) -> Figure:
    """Look for groups and folders of this process."""
    own = f"{os.getpid()}-"
    groups = [path for folder in sandbox.parents.folders.values() for path in folder.glob(f"arena-{own}*")]
    folders = list(Path(tempfile.gettempdir()).glob(f"arena-box-{own}*"))
    measured = f"{len(groups)} groups, {len(folders)} folders"
    return Figure(
        what="left behind after all of this", measured=measured, demanded="nothing", met=not (groups or folders)
    )


def milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def measured(sandbox: Bubblewrap, folder: Path) -> Iterator[Figure]:
    yield start_up(sandbox)
    yield killing(sandbox)
    yield clone_files(folder)
    yield promises(sandbox)
    yield from match(folder)
    yield training(sandbox)
    yield left_behind(sandbox)


def main() -> int:
    sandbox = Bubblewrap()
    with tempfile.TemporaryDirectory(prefix="arena-sandbox-") as work:
        figures = []
        print("| what | measured | demanded | |\n|---|---|---|---|", flush=True)
        for figure in measured(sandbox, Path(work)):
            figures.append(figure)
            met = "" if figure.met is None else "yes" if figure.met else "**no**"
            print(f"| {figure.what} | {figure.measured} | {figure.demanded} | {met} |", flush=True)
    print(f"\nLoad of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")
    return 0 if all(one.met is not False for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
