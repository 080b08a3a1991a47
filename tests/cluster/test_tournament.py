from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from arena.match.deployment import ledger_path
from arena.oracle.sqlite_ledger import read_transcript
from arena.referee.journal import JOURNAL
from arena.referee.referee import Progress
from arena.referee.tournament_file import tournament_from
from arena.report.files import RESULTS_JSON, read_results
from arena.runs.folder import DATABASE, Settings, create_run_folder, site_of
from arena.runs.playing import admit_all, play_run
from tests.cluster.tiny import table

TOURNAMENT = {
    "name": "tiny",
    "victims": [{"name": "digits", "arch": "mlp", "steps": 100}],
    "attacks": [{"name": "knockoff", "steps": 20}],
    "defenses": ["none", "gaussian-noise"],
    "budgets": [30],
    "seeds": 3,
    "recipe": {"steps": 20},
}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_tournament_over_the_wire_is_tracked_and_resumed(tmp_path: Path, cache: Path):
    folder = tmp_path / "run"
    tournament = tournament_from(TOURNAMENT, where="here", folder=tmp_path)
    settings = Settings(runner="ray", cache=str(cache))
    site = site_of(folder, tournament, settings)
    admitted = admit_all(tournament, site)
    matchups = admitted.matchups
    create_run_folder(folder, tournament, settings, admitted)

    def play() -> list[str]:
        """Run, and return the seeds and defenses of what was played."""
        told: list[str] = []

        def tell(progress: Progress) -> None:
            if progress.last is not None:
                told.append(f"{progress.last.matchup.defense.name} {progress.last.matchup.seed}")

        summary = play_run(folder, tournament, settings, matchups, reuse=[], on_progress=tell)
        assert summary.tracking_failed == ""
        return told

    assert len(play()) == len(matchups)
    whole = read_results(folder)
    assert {result.verdict.outcome for result in whole} == {"completed"}
    for result in whole:
        transcript = read_transcript(ledger_path(site, result.matchup, result.attempt))
        assert (transcript.digest, transcript.counts.spent) == (result.transcript_digest, result.spent)

    journal = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    (folder / JOURNAL).write_bytes(b"".join(journal[:3]))
    (folder / RESULTS_JSON).unlink()
    assert len(play()) == len(matchups) - 3
    assert (folder / JOURNAL).read_bytes().startswith(b"".join(journal[:3]))
    assert table(read_results(folder)) == table(whole)
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as database:
        (runs,) = database.execute("SELECT count(DISTINCT run_uuid) FROM latest_metrics").fetchone()
    assert runs >= len(matchups)
