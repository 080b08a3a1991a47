from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from arena.cli.console import INTERRUPTED_EXIT, TERMINATED_EXIT
from arena.match.secret import Secret
from arena.match.site import Site
from arena.referee.journal import JOURNAL
from arena.referee.local import LocalRunner
from arena.referee.tournament_file import read_tournament
from arena.report.files import read_results
from tests.cli.arena import Arena
from tests.cluster.processes import descendants, left_of
from tests.cluster.tiny import attack_entry, played, table, waits_once

TOURNAMENT = """
name = "tiny"
victims = [{ name = "digits", arch = "mlp", steps = 100 }]
attacks = [{ name = "knockoff", steps = 20 }]
defenses = ["none", "gaussian-noise"]
budgets = [30]
seeds = 5
recipe = { steps = 20 }
secret = "stated"
"""


def started(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "arena.cli", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster", "environment")
def test_ctrl_c_leaves_no_process_and_a_folder_that_resumes(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    file, folder = tmp_path / "tiny.toml", tmp_path / "run"
    file.write_text(TOURNAMENT)
    run = started("run", str(file), "--runner", "ray", "--mlflow", "none", "--out", str(folder))
    while lines(folder / JOURNAL) == 0 and run.poll() is None:
        time.sleep(0.02)
    below = descendants(run.pid)
    run.send_signal(signal.SIGINT)
    output, errors = run.communicate(timeout=60)
    assert run.returncode == INTERRUPTED_EXIT, errors
    assert f"arena resume {folder}" in errors.replace("\n", "")
    assert "Traceback" not in output + errors
    assert any("raylet" in line for line in below.values())
    assert left_of(below, seconds=5) == {}

    tournament = read_tournament(file)
    finished = lines(folder / JOURNAL)
    assert 1 <= finished < len(tournament.matchups())
    resumed = Arena(monkeypatch, capsys)("resume", folder)
    assert "Traceback" not in resumed.err
    assert resumed.code == 0, resumed.err
    assert lines(folder / JOURNAL) == len(tournament.matchups())
    undisturbed = played(
        LocalRunner(replace(site, secret=Secret.stated("stated"))), tournament.matchups(), tmp_path / "local"
    )
    assert table(read_results(folder)) == table(undisturbed)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster", "environment")
def test_sigterm_lets_the_running_match_end_and_starts_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    file, folder, gate = tmp_path / "tiny.toml", tmp_path / "run", tmp_path / "gate"
    entry = attack_entry(tmp_path / "waiting", waits_once(tmp_path))
    attacks = f'attacks = [{{ path = "{entry.name}" }}]\nresources = {{ slots = 1 }}'
    file.write_text(TOURNAMENT.replace('attacks = [{ name = "knockoff", steps = 20 }]', attacks))
    os.mkfifo(gate)
    run = started("run", str(file), "--unsafe", "--mlflow", "none", "--out", str(folder), "--grace", "600")
    with gate.open("w"):  # opens once the attack waits for it
        below = descendants(run.pid)
        run.send_signal(signal.SIGTERM)
        while "no match starts any more" not in run.stderr.readline():
            assert run.poll() is None
    _, errors = run.communicate(timeout=120)
    assert run.returncode == TERMINATED_EXIT, errors
    assert f"terminated; finished matches are in {folder}, and 9 are left" in " ".join(errors.split())
    assert "Traceback" not in errors
    assert lines(folder / JOURNAL) == 1
    assert left_of(below, seconds=5) == {}
    gate.unlink()
    gate.touch()
    assert Arena(monkeypatch, capsys)("resume", folder, "--unsafe").code == 0
    assert lines(folder / JOURNAL) == 10
