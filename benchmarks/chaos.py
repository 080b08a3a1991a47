"""Kills a run's processes at random moments, and proves that nothing is lost or doubled.

Run: ``python benchmarks/chaos.py --matches 200 --kills 300`` (`make chaos`). A tournament is played on Ray by a process of
its own, while oracle hosts, and now and then the driver, are killed with SIGKILL; after the driver, the run is resumed.
Answers are lost on their way, too, so that attacks ask again under the same key. The seed of the moments is printed.

Afterwards: each match has one result and one whole ledger, `arena verify` finds nothing, the table is equal bit for bit to
that of an undisturbed run, and no process and no folder is left. ``--ignore-keys`` is the control: oracles forget the keys
of requests, so that a call that is asked again is charged again, and the run must fail these checks.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from arena.cli.main import main as arena
from arena.cluster.players import Artefacts, OracleHost
from arena.cluster.runner import RayRunner
from arena.cluster.scratch import PLACE, PREFIX
from arena.contracts import Answer, MatchResult, Matchup, QueryBatch, ServiceUnreachable, matchup_id
from arena.oracle.session import Session
from arena.oracle.terms import REQUEST_ID_BYTES
from arena.referee.journal import JOURNAL, read_journal
from arena.runs import playing
from arena.runs.verifying import verify
from tests.cluster.processes import descendants, title

ROWS, CALLS = 4, 10  # of an attack
LOST = 0.1  # the share of answers that never arrive
DRIVER = 0.05  # the share of kills that hit the driver
PAUSE_SECONDS = 1.5  # between two kills, on average
ENDING_SECONDS = 30.0  # for the processes of a killed driver to end by themselves
WATCH_SECONDS = 0.05
KEYS_VARIABLE = "ARENA_CHAOS_IGNORE_KEYS"
FAILED = 1

ENTRY = f"""
from dataclasses import dataclass

from arena.contracts import Attack
from arena.learning.architectures import build


@dataclass(frozen=True, kw_only=True)
class Patient(Attack):
    def extract(self, oracle, context, *, rng):
        for call in range({CALLS}):
            oracle.query(context.pool[{ROWS} * call : {ROWS} * (call + 1)])
        return build("linear", oracle.task, rng=rng).eval()
"""


class LosingSession:
    """Loses answers after they were charged and recorded, as a network does; the client then asks again."""

    def __init__(self, session: Session) -> None:
        self._query, self._rng = session.query, random.SystemRandom()
        self._ignore_keys = bool(os.environ.get(KEYS_VARIABLE))

    def query(self, request_id: bytes, queries: QueryBatch) -> Answer:
        key = os.urandom(REQUEST_ID_BYTES) if self._ignore_keys else request_id
        answer = self._query(key, queries)
        if self._rng.random() < LOST:
            message = "the answer was lost"
            raise ServiceUnreachable(message)
        return answer


class LosingHost(OracleHost):
    """A host whose oracles lose answers."""

    def _deployed(self, matchup: Matchup, attempt: int, artefacts: Artefacts) -> Session:
        session = super()._deployed(matchup, attempt, artefacts)
        session.query = LosingSession(session).query  # type: ignore[method-assign]  # of this session alone
        return session


class LosingRunner(RayRunner):
    """A runner of such hosts."""

    host_class = LosingHost


def play(arguments: list[str]) -> None:
    """Be `arena`, with hosts that lose answers."""
    vars(playing)["RayRunner"] = LosingRunner
    sys.argv = ["arena", *arguments]
    arena()


@dataclass(kw_only=True)
class Chaos:
    """A run that is killed in parts, at moments that the seed decides."""

    tournament: Path
    folder: Path
    kills: int
    rng: random.Random
    hit: collections.Counter[str] = field(default_factory=collections.Counter)
    seen: dict[int, str] = field(default_factory=dict)  # every process below any of the drivers

    def run(self) -> int:
        """Play until the run is over, with all its kills; return the last driver's exit code."""
        words = ["run", str(self.tournament), "--out", str(self.folder), "--mlflow", "none", "--no-reuse"]
        while True:
            driver = subprocess.Popen([sys.executable, __file__, "--play", *words], stdout=subprocess.DEVNULL)
            self._disturb(driver)
            if driver.wait() != -signal.SIGKILL:
                return driver.returncode
            self._wait_for_orphans()
            if (self.folder / JOURNAL).exists():
                words = ["resume", str(self.folder), "--mlflow", "none"]

    def _disturb(self, driver: subprocess.Popen[bytes]) -> None:
        next_kill = time.monotonic() + self.rng.expovariate(1 / PAUSE_SECONDS)
        while driver.poll() is None:
            time.sleep(WATCH_SECONDS)
            below = {process: line for process, line in descendants(driver.pid).items() if line}
            self.seen |= below
            if time.monotonic() < next_kill or self.hit.total() >= self.kills:
                continue
            hosts = [process for process, line in below.items() if line.startswith("ray::LosingHost")]
            if hosts and self.rng.random() >= DRIVER:
                kill(self.rng.choice(sorted(hosts)))
                self.hit["oracle host"] += 1
            elif hosts:
                driver.kill()
                self.hit["driver"] += 1
            next_kill = time.monotonic() + self.rng.expovariate(1 / PAUSE_SECONDS)

    def _wait_for_orphans(self) -> None:
        end = time.monotonic() + ENDING_SECONDS
        while self.left() and time.monotonic() < end:
            time.sleep(WATCH_SECONDS)

    def left(self) -> dict[int, str]:
        """The processes of the run that still live."""
        return {process: line for process, line in self.seen.items() if title(process) == line}


def kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended in the meantime
        os.kill(process, signal.SIGKILL)


def table(results: Iterable[MatchResult]) -> Mapping[str, object]:
    """Return what must be the same in every run, by match: all but attempts, times and places."""
    return {
        matchup_id(one.matchup): (
            one.verdict, one.spent, one.calls, one.counts, one.flags, one.transcript_digest, one.clone_digest,
        )
        for one in results
    }  # fmt: skip


def tournament(folder: Path, matches: int) -> Path:
    """Write a tournament of so many matches and its attack, and return its file."""
    entry = folder / "patient"
    entry.mkdir()
    (entry / "agent.toml").write_text('name = "patient"\nrole = "attack"\nentry = "patient:Patient"\n')
    (entry / "patient.py").write_text(ENTRY)
    file = folder / "chaos.toml"
    file.write_text(
        textwrap.dedent(f"""
            name = "chaos"
            victims = [{{ name = "digits", arch = "linear", steps = 10 }}]
            attacks = [{{ path = "{entry}" }}]
            defenses = ["none", "gaussian-noise"]
            budgets = [{ROWS * CALLS}]
            seeds = {-(-matches // 2)}
            recipe = {{ steps = 5 }}
            secret = "chaos"
            [limits]
            replays = 100000
            [resources]
            oracles = 2
            slots = 2
        """)
    )
    return file


def left_behind(chaos: Chaos) -> list[Path]:
    """Return the folders that the run's processes left: Ray's, which their command lines name, and ours."""
    named = {Path(found) for line in chaos.seen.values() for found in re.findall(rf"{PLACE}/{PREFIX}\w+", line)}
    return sorted({*(path for path in named if path.exists()), *Path(tempfile.gettempdir()).glob("arena-*")})


def problems_of(chaos: Chaos, undisturbed: Path) -> list[str]:
    """Return what is wrong with a run after all its kills."""
    results = list(read_journal(chaos.folder))
    calm, wild = table(read_journal(undisturbed)), table(results)
    names = [matchup_id(result.matchup) for result in results]
    checks: Mapping[str, Callable[[], object]] = {
        "matches without a result": lambda: len(calm.keys() - wild.keys()),
        "results too many": lambda: len(names) - len(set(names)),
        "results that differ from those of an undisturbed run": lambda: sum(wild.get(n) != calm[n] for n in calm),
        "damages": lambda: [f"{one.what}: {one.problem}" for one in verify(chaos.folder).damages],
        "processes left": chaos.left,
    }
    return [f"{what}: {found}" for what, check in checks.items() if (found := check())]


def main() -> int:
    if sys.argv[1:2] == ["--play"]:
        play(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matches", type=int, default=20)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--ignore-keys", action="store_true", help="the control, which must fail")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    if options.ignore_keys:
        os.environ[KEYS_VARIABLE] = "1"
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        work = Path(name)
        (work / "tmp").mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(work / "tmp")  # the run's own, where nothing else leaves anything
        os.environ.setdefault("ARENA_CACHE", str(work / "cache"))
        file = tournament(work, options.matches)
        calm = [sys.executable, __file__, "--play", "run", str(file), "--runner", "local", "--out", str(work / "calm")]
        subprocess.run([*calm, "--mlflow", "none"], check=True, stdout=subprocess.DEVNULL)
        start = time.monotonic()
        chaos = Chaos(tournament=file, folder=work / "wild", kills=options.kills, rng=random.Random(seed))
        code = chaos.run()
        problems = problems_of(chaos, work / "calm") if code in (0, FAILED) else []
        problems += [f"exit code {code}"] if code else []
        problems += [f"folders left: {left}" for left in [left_behind(chaos)] if left]
        attempts = [result.attempt for result in read_journal(work / "wild")]
    print(f"{len(attempts)} matches, {time.monotonic() - start:.0f} s, kills: {json.dumps(chaos.hit)}")
    print(f"attempts: {sum(attempts)}, of which {sum(attempts) - len(attempts)} replays")
    print("\n".join(problems) if problems else "nothing was lost, doubled or left")
    return FAILED if problems else 0


if __name__ == "__main__":
    sys.exit(main())
