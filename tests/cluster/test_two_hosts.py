from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from arena.match.deployment import ledger_path
from arena.match.secret import Secret
from arena.match.site import Site
from arena.oracle.sqlite_ledger import read_transcript
from arena.referee.journal import read_journal
from arena.referee.local import LocalRunner
from arena.referee.tournament_file import read_tournament
from arena.report.files import read_results
from tests.cluster.tiny import played, table

SCRIPT = Path(__file__).with_name("two_hosts.sh")
UNSHARE = ("unshare", "-Urnm", "--pid", "--fork", "--kill-child", "--mount-proc")
TOURNAMENT = """
name = "tiny"
victims = [{ name = "digits", arch = "mlp", steps = 100 }]
attacks = [{ name = "knockoff", steps = 20 }]
defenses = ["none", "gaussian-noise"]
budgets = [30]
seeds = 6
recipe = { steps = 20 }
secret = "stated"
[resources]
oracle = { cpus = 0, custom = { oracles_node = 0.1 } }
attack = { cpus = 1, custom = { attacks_node = 0.1 } }
"""


def why_not() -> str:
    """Why two hosts cannot be made here; empty if they can."""
    for tool in ("unshare", "ip", "bash"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    tried = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", "/run"], capture_output=True, text=True)
    return f"no namespaces for this user: {tried.stderr.strip()}" if tried.returncode else ""


@pytest.mark.ray
@pytest.mark.netns
@pytest.mark.slow
def test_a_run_outlives_the_loss_of_the_oracles_host(tmp_path: Path, cache: Path):
    if reason := why_not():
        pytest.skip(reason)
    file, folder = tmp_path / "tiny.toml", tmp_path / "run"
    file.write_text(TOURNAMENT)
    command = [*UNSHARE, str(SCRIPT), sys.executable, str(file), str(folder)]
    subprocess.run(command, env={**os.environ, "ARENA_CACHE": str(cache)}, check=True, timeout=240)

    tournament = read_tournament(file)
    site = Site(work=tmp_path, cache=cache, secret=Secret.stated("stated"))
    undisturbed = played(LocalRunner(site), tournament.matchups(), tmp_path / "local")
    assert Path(f"{folder}.run").read_text().endswith("exit 0\n")
    first = read_results(Path(f"{folder}.first"))
    assert table(first) == table(undisturbed)
    assert max(result.attempt for result in first) <= 2  # one loss costs a match one attempt at most
    for result in first:
        transcript = read_transcript(ledger_path(Site(work=folder / "transcripts"), result.matchup, result.attempt))
        assert transcript.digest == result.transcript_digest
        assert transcript.counts.spent == result.matchup.budget

    assert Path(f"{folder}.resume").read_text().endswith("exit 0\n")
    assert len(list(read_journal(folder))) == len(first)
    assert table(read_results(folder)) == table(undisturbed)
