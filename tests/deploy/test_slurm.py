"""The Slurm script, submitted to a real Slurm of one node."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.report.files import read_results
from arena.runs.verifying import verify
from tests.cluster.tiny import table
from tests.deploy.files import DEPLOY, ROOT
from tests.deploy.slurm import PROGRAMS, Slurm, slurm
from tests.programs import needs

SCRIPT = DEPLOY / "slurm" / "arena.sbatch"
TOURNAMENT = """
name = "t"
secret = "stated"
victims = [{ name = "iris", arch = "mlp", steps = 20 }]
attacks = [{ name = "knockoff", steps = 5 }]
defenses = ["none", { name = "rounding", decimals = 1 }]
budgets = [10]
seeds = 2
recipe = { steps = 5 }
"""
JOB_SECONDS = 280.0

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    needs(*PROGRAMS, package="slurm-wlm"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Slurm's daemons and munged's user need root here"),
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with slurm(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a tournament, and with the commands of this environment."""
    (tmp_path / "t.toml").write_text(TOURNAMENT)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "arena").write_text(f'#!/bin/sh\nexec {sys.executable} -m arena.cli "$@"\n')
    (programs / "arena").chmod(0o755)
    return tmp_path


def submitted(running: Slurm, folder: Path, out: str, *options: str) -> str:
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return running.submit(
        SCRIPT,
        folder / "t.toml",
        folder / out,
        "--mlflow",
        "none",
        "--no-reuse",
        options=("--cpus-per-task=1", f"--output={folder}/{out}.log", f"--chdir={folder}", *options),
        PATH=path,
        PYTHONPATH=str(ROOT),
        ARENA_CACHE=str(folder / "cache"),
    )


def ray_processes(job: str) -> list[str]:
    """Return the processes that have to do with a job's folder of Ray."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"arena-{job}/" in words:
            found.append(words)
    return found


def test_two_jobs_at_once_on_one_node_do_not_meet_and_leave_nothing(running: Slurm, folder: Path):
    jobs = [submitted(running, folder, out) for out in ("one", "two")]
    states = running.wait_for(*jobs, seconds=JOB_SECONDS)
    logs = {out: (folder / f"{out}.log").read_text() for out in ("one", "two")}
    assert set(states.values()) == {"COMPLETED"}, logs
    assert all("all 1 nodes are there" in log and "Fidelity" in log for log in logs.values())
    ports = [next(line for line in log.splitlines() if "ports" in line).split("ports ")[1] for log in logs.values()]
    assert len(set(ports)) == 2
    first, second = (read_results(folder / out) for out in ("one", "two"))
    assert len(first) == 4
    assert table(first) == table(second)
    assert verify(folder / "one").damages == ()
    assert [ray_processes(job) for job in jobs] == [[], []]
    assert [path for job in jobs for path in Path("/tmp").glob(f"arena-{job}")] == []


def test_a_job_that_is_submitted_again_plays_what_is_missing(running: Slurm, folder: Path):
    first = submitted(running, folder, "one")
    assert running.wait_for(first, seconds=JOB_SECONDS) == {first: "COMPLETED"}, (folder / "one.log").read_text()
    journal = folder / "one" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]))
    again = submitted(running, folder, "one")
    assert running.wait_for(again, seconds=JOB_SECONDS) == {again: "COMPLETED"}, (folder / "one.log").read_text()
    assert len(journal.read_bytes().splitlines()) == len(lines) == 4
    assert len(json.loads((folder / "one" / "results.json").read_text())) == 4


def test_a_mistake_is_said_in_the_log(running: Slurm, folder: Path):
    (folder / "t.toml").write_text("name = 3")
    job = submitted(running, folder, "one")
    assert running.wait_for(job, seconds=JOB_SECONDS) == {job: "FAILED"}
    assert "attacks must be a list of at least one" in " ".join((folder / "one.log").read_text().split())
