from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arena.cli.console import INTERRUPTED_EXIT
from arena.match.site import Site
from arena.referee.journal import JOURNAL
from arena.referee.local import LocalRunner
from arena.referee.tournament_file import read_tournament
from arena.report.files import read_results
from tests.cluster.processes import descendants, left_of
from tests.cluster.tiny import played, table

TOURNAMENT = """
name = "tiny"
victims = [{ name = "digits", arch = "mlp", steps = 100 }]
attacks = [{ name = "knockoff", steps = 20 }]
defenses = ["none", "gaussian-noise"]
budgets = [30]
seeds = 12
recipe = { steps = 20 }
"""


def arena(*words: str, cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "ARENA_CACHE": str(cache)}
    command = [sys.executable, "-m", "arena.cli", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.ray
@pytest.mark.slow
def test_ctrl_c_leaves_no_process_and_a_folder_that_resumes(tmp_path: Path, cache: Path):
    file, folder = tmp_path / "tiny.toml", tmp_path / "run"
    file.write_text(TOURNAMENT)
    run = arena("run", str(file), "--runner", "ray", "--mlflow", "none", "--out", str(folder), cache=cache)
    while lines(folder / JOURNAL) == 0 and run.poll() is None:
        time.sleep(0.02)
    started = descendants(run.pid)
    run.send_signal(signal.SIGINT)
    output, errors = run.communicate(timeout=60)
    assert run.returncode == INTERRUPTED_EXIT, errors
    assert f"arena resume {folder}" in errors.replace("\n", "")
    assert "Traceback" not in output + errors
    assert any("raylet" in line for line in started.values())
    assert left_of(started, seconds=5) == {}

    tournament = read_tournament(file)
    finished = lines(folder / JOURNAL)
    assert 1 <= finished < len(tournament.matchups())
    resumed = arena("resume", str(folder), cache=cache)
    assert resumed.communicate(timeout=120)[1].count("Traceback") == 0
    assert resumed.returncode == 0
    assert lines(folder / JOURNAL) == len(tournament.matchups())
    undisturbed = played(LocalRunner(Site(work=tmp_path, cache=cache)), tournament.matchups(), tmp_path / "local")
    assert table(read_results(folder)) == table(undisturbed)
