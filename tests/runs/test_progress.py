from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import LedgerCorrupt, UnknownName, Verdict
from arena.referee.journal import JOURNAL, Journal, read_journal
from arena.referee.outlook import NodeLoad, Outlook
from arena.referee.referee import Progress
from arena.runs.progress import PROGRESS, SILENT_SECONDS, Pace, ProgressFile, WatchedRun
from tests.runs.small import play

OUTLOOK = Outlook(
    stages={"play": 1, "score": 1},
    waits={"a process to start": 1},
    nodes={"10.0.0.1": NodeLoad(slots=2, hosts=1)},
)
NOBODY = 2**22 + 1  # larger than any process id


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A finished run of four matches."""
    return play(tmp_path_factory.mktemp("whole") / "run", cache)


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it with a journal of two matches, as in the middle of the run."""
    folder = shutil.copytree(whole, tmp_path / "run")
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    (folder / JOURNAL).write_bytes(b"".join(lines[:2]))
    (folder / PROGRESS).unlink()
    return folder


def reported(run: Path, **changes: object) -> None:
    """Write a report of a process that plays, with changes."""
    file = ProgressFile(run, slots=2, look=lambda: OUTLOOK)
    file.note(Progress(done=2, running=2, left=0))
    table = json.loads((run / PROGRESS).read_text())
    (run / PROGRESS).write_text(json.dumps({**table, **changes}))


def test_a_run_that_is_played_says_what_runs_in_which_stage(run: Path):
    reported(run, per_minute=6.0)
    status = WatchedRun(run).status()
    assert (status.state, status.total, status.done, status.running, status.left) == ("playing", 4, 2, 2, 0)
    assert (status.stages, status.slots, status.per_minute) == ({"play": 1, "score": 1}, 2, 6.0)
    assert status.seconds_left == 20.0
    assert status.waits == {"a process to start": 1}
    assert status.nodes == {"10.0.0.1": {"slots": 2, "hosts": 1}}
    assert status.outcomes == {}


def test_matches_that_no_runner_has_wait_for_a_free_slot(run: Path):
    ProgressFile(run, slots=2, look=lambda: OUTLOOK).note(Progress(done=0, running=2, left=7))
    assert WatchedRun(run).status().waits == {"a process to start": 1, "a free slot": 7}


def test_a_report_of_an_older_version_is_read(run: Path):
    reported(run)
    table = json.loads((run / PROGRESS).read_text())
    (run / PROGRESS).write_text(json.dumps({key: table[key] for key in table if key not in ("waits", "nodes")}))
    assert (WatchedRun(run).status().state, WatchedRun(run).status().nodes) == ("playing", {})


def test_a_finished_run_says_so_whatever_is_reported(whole: Path):
    status = WatchedRun(whole).status()
    assert (status.state, status.done, status.running, status.left) == ("finished", 4, 0, 0)
    assert json.loads((whole / PROGRESS).read_text())["ended"]


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "playing"),
        ({"process": NOBODY}, "stopped"),
        ({"ended": True}, "stopped"),
        ({"host": "elsewhere", "process": NOBODY}, "playing"),
        ({"host": "elsewhere", "at": 0.0}, "stopped"),
        ({"at": 0.0}, "playing"),  # a long match on this host: the process is still there
    ],
)
def test_a_process_that_is_gone_or_silent_elsewhere_plays_no_more(run: Path, changes: dict[str, object], state: str):
    reported(run, **changes)
    assert WatchedRun(run).status().state == state


def test_silence_is_measured_from_the_last_report(run: Path):
    reported(run, host="elsewhere", at=1_000.0)
    watched = WatchedRun(run)
    assert watched.status(now=1_000.0 + SILENT_SECONDS - 1).state == "playing"
    late = watched.status(now=1_000.0 + SILENT_SECONDS + 1)
    assert (late.state, late.silent_seconds, late.running, late.left) == ("stopped", SILENT_SECONDS + 1, 0, 2)


def test_a_folder_without_a_report_is_read_all_the_same(run: Path):
    status = WatchedRun(run).status()
    assert (status.state, status.done, status.left) == ("stopped", 2, 2)
    (run / PROGRESS).write_text('{"half": ')
    assert WatchedRun(run).status().state == "stopped"


def test_results_are_counted_as_they_come_and_a_torn_line_waits(run: Path, whole: Path):
    lines = (whole / JOURNAL).read_bytes().splitlines(keepends=True)
    watched = WatchedRun(run)
    assert watched.status().done == 2
    (run / JOURNAL).write_bytes(b"".join(lines[:3]) + lines[3][:40])
    assert watched.status().done == 3
    (run / JOURNAL).write_bytes(b"".join(lines))
    assert watched.status().done == 4


def test_faults_are_counted_by_blame_and_a_lost_match_is_not_done(run: Path):
    crashed, lost = list(read_journal(run))
    (run / JOURNAL).unlink()
    journal = Journal(run)
    journal.append(replace(crashed, verdict=Verdict(outcome="crashed", fault="attack")))
    journal.append(replace(lost, verdict=Verdict(outcome="infrastructure", fault="arena")))
    status = WatchedRun(run).status()
    assert status.outcomes == {"crashed, fault: attack": 1, "infrastructure, fault: arena": 1}
    assert (status.done, status.left) == (1, 3)


def test_reading_changes_nothing(run: Path):
    reported(run)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    WatchedRun(run).status()
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_folder_without_a_run_is_refused(tmp_path: Path):
    with pytest.raises(UnknownName, match="is not a run folder"):
        WatchedRun(tmp_path)


def test_a_report_that_cannot_be_written_does_not_end_the_run(run: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    reported_before = sorted(run.iterdir())
    ProgressFile(run, slots=1).note(Progress(done=0, running=0, left=4))
    assert sorted(run.iterdir()) == reported_before


def test_the_pace_is_that_of_the_last_minutes_and_of_matches_that_were_played():
    now = 0.0
    pace = Pace(lambda: now)
    pace.note(10)  # reused: they took no time
    assert (pace.per_minute, pace.seconds_left(5)) == (None, None)
    for done in range(11, 41):
        now += 30.0
        pace.note(done)
    assert pace.per_minute == pytest.approx(2.0)
    assert pace.seconds_left(10) == pytest.approx(300.0)
    for done in range(41, 81):
        now += 60.0
        pace.note(done)
    assert pace.per_minute == pytest.approx(1.0, rel=0.1)


def test_a_damaged_line_is_said_with_the_command_that_names_it(run: Path):
    (run / JOURNAL).write_bytes(b"{}\n")
    with pytest.raises(LedgerCorrupt, match=r"`arena verify .*` names what is damaged"):
        WatchedRun(run).status()
