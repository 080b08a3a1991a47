from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.arena import Arena
from tests.cli.test_continuing import TOURNAMENT


@pytest.fixture
def plan(arena: Arena) -> Arena:
    """The command, where a tournament of four matches lies."""
    Path("t.toml").write_text(TOURNAMENT)
    return arena


def test_says_what_a_tournament_takes_and_leaves_nothing_behind(plan: Arena):
    ended = plan("plan", "t.toml", "--nodes", 3)
    assert ended.code == 0, ended.err
    for words in (
        "4 matches; 4 of 4 cells were probed",
        "training victims",
        "attacks and answers",
        "in this process (--runner local)",
        "on this machine",
        "on 3 nodes like this one",
        "memory at most",
    ):
        assert words in ended.out
    assert [path.name for path in Path().iterdir()] == ["t.toml"]


def test_says_the_same_as_json(plan: Arena):
    found = json.loads(plan("plan", "t.toml", "--json").out)
    assert (found["matches"], found["cells"], found["refused"]) == (4, {"all": 4, "probed": 4}, [])
    assert found["cpu_seconds"]["together"] > 0
    assert len(found["wall_seconds"]) == 2


def test_results_that_a_run_would_reuse_are_counted(plan: Arena):
    played = plan("run", "t.toml", "--runner", "local", "--mlflow", "none", "--out", "runs/one")
    assert played.code == 0, played.err
    assert "4 matches, 4 of which other runs have already; 0 of 0 cells" in plan("plan", "t.toml").out
    assert json.loads(plan("plan", "t.toml", "--no-reuse", "--json").out)["reused"] == 0


def test_what_would_be_refused_is_said_with_the_exit_code_of_a_users_mistake(plan: Arena):
    Path("t.toml").write_text(TOURNAMENT + 'pools = ["same", "none"]\n')
    ended = plan("plan", "t.toml")
    assert ended.code == 2
    assert "refused, 2 of 8 matches: attack knockoff needs a pool" in ended.out
    assert json.loads(plan("plan", "t.toml", "--json").out)["refused"][0]["matches"] == 2


@pytest.mark.parametrize(
    ("more", "options", "said"),
    [
        ("resources = { attack = { gpus = 64 } }\n", [], "attack slot 1 asks for"),
        ("", ["--nodes", "0"], "--nodes is 0; it must be 1 or more"),
        ("", ["--address", "127.0.0.1:9"], "nothing answers at 127.0.0.1:9"),
    ],
)
def test_a_place_where_it_cannot_be_played_is_refused(plan: Arena, more: str, options: list[str], said: str):
    Path("t.toml").write_text(TOURNAMENT + more)
    ended = plan("plan", "t.toml", *options)
    assert ended.code == 2
    assert said in " ".join(ended.err.split())
