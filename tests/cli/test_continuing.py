"""``arena run`` given again on its own folder, and runs that are played in parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arena.cli import run as run_command
from arena.referee.journal import JOURNAL
from arena.report.files import RESULTS_CSV, RESULTS_JSON
from tests.cli.arena import Arena, Ended
from tests.sandbox.boxes import needs_bubblewrap

TOURNAMENT = """
name = "t"
secret = "stated"
victims = [{ name = "iris", arch = "mlp", steps = 20 }]
attacks = [{ name = "knockoff", steps = 5 }, { name = "uniform-noise", steps = 5 }]
defenses = ["none", { name = "rounding", decimals = 1 }]
budgets = [10]
seeds = 1
recipe = { steps = 5 }
"""


@pytest.fixture
def run(arena: Arena) -> Arena:
    """The command, where a tournament of four matches lies."""
    Path("t.toml").write_text(TOURNAMENT)
    return arena


def played(run: Arena, *options: object, out: str = "out") -> Ended:
    return run("run", "t.toml", "--runner", "local", "--mlflow", "none", "--no-reuse", "--out", out, *options)


def lines(folder: str = "out") -> list[bytes]:
    return (Path(folder) / JOURNAL).read_bytes().splitlines()


def results(folder: str = "out") -> list[dict[str, object]]:
    return json.loads((Path(folder) / RESULTS_JSON).read_text())


def test_says_that_all_is_played_and_starts_nothing(run: Arena, monkeypatch: pytest.MonkeyPatch):
    assert played(run).code == 0
    before = lines()

    def nothing(*arguments: object, **options: object) -> None:
        raise AssertionError("a run was started")

    monkeypatch.setattr(run_command, "watched_run", nothing)
    again = played(run)
    assert again.code == 0, again.err
    assert "all 4 matches are played already" in again.out
    assert lines() == before


def test_plays_only_what_is_missing(run: Arena):
    assert played(run).code == 0
    first, whole = lines(), results()
    (Path("out") / JOURNAL).write_bytes(b"\n".join(first[:3]) + b"\n")
    (Path("out") / RESULTS_JSON).unlink()
    again = played(run)
    assert again.code == 0, again.err
    assert lines()[:3] == first[:3]
    assert len(lines()) == 4
    assert [one["transcript_digest"] for one in results()] == [one["transcript_digest"] for one in whole]


def test_writes_the_result_files_that_a_kill_after_the_last_match_left_out(run: Arena):
    assert played(run).code == 0
    whole = results()
    (Path("out") / RESULTS_JSON).unlink()
    (Path("out") / RESULTS_CSV).unlink()
    assert played(run).code == 0
    assert results() == whole
    assert (Path("out") / RESULTS_CSV).read_text().count("\n") == 5


def test_a_folder_that_was_only_just_created_is_taken(run: Arena):
    folder = Path("out")
    (folder / "transcripts").mkdir(parents=True)
    (folder / "tournament.toml").write_text("")
    assert played(run).code == 0
    assert len(lines()) == 4


def test_other_resources_are_no_other_tournament(run: Arena):
    assert played(run).code == 0
    Path("t.toml").write_text(TOURNAMENT + "resources = { slots = 3 }\n")
    again = played(run)
    assert again.code == 0, again.err
    assert '"slots" = 3' in (Path("out") / "tournament.toml").read_text()


class TestAnEntry:
    pytestmark = needs_bubblewrap

    def test_a_changed_entry_is_refused_even_if_all_is_played(self, run: Arena):
        assert run("new", "attack", "mine", "--to", ".").code == 0
        Path("t.toml").write_text(TOURNAMENT.replace('{ name = "uniform-noise", steps = 5 }', '{ path = "./mine" }'))
        assert played(run).code == 0
        source = Path("mine/agent.py")
        source.write_text(source.read_text() + "# another idea\n")
        again = played(run)
        assert again.code == 2
        assert "has changed since it began (the attack mine)" in again.err


def test_only_what_is_chosen_is_played_and_the_rest_later(run: Arena):
    part = played(run, "--only", "attack=knockoff", "--only", "defense=rounding")
    assert part.code == 0, part.err
    assert "1 of the 4 matches" in part.err
    assert len(lines()) == len(results()) == 1
    assert "3 of 4 matches are missing" in run("report", "out").out
    more = played(run, "--only", "attack=knockoff")
    assert more.code == 0, more.err
    assert len(results()) == 2
    assert "all 2 matches are played already" in played(run, "--only", "attack=knockoff").out
    assert run("resume", "out").code == 0
    assert len(lines()) == len(results()) == 4


def test_further_seeds_are_played_in_the_same_folder_once(run: Arena):
    assert played(run).code == 0
    first = lines()
    more = played(run, "--add-seeds", 2)
    assert more.code == 0, more.err
    assert lines()[:4] == first
    assert sorted(one["matchup"]["seed"] for one in results()) == [0] * 4 + [1] * 4 + [2] * 4
    assert "all 12 matches are played already" in played(run, "--add-seeds", 2).out
    shorter = played(run)
    assert shorter.code == 2
    assert "seeds: only in the folder: [1, 2]" in shorter.err


def test_resume_adds_seeds_to_what_the_folder_holds(run: Arena):
    assert played(run).code == 0
    assert run("resume", "out", "--add-seeds", 1, "--only", "seed=1", "--only", "attack=knockoff").code == 0
    assert len(results()) == 6
    assert "2 of 8 matches are missing" in run("report", "out").out
