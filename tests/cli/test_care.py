"""``arena merge`` and ``arena prune`` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arena.match.site import CACHE_VARIABLE
from tests.cli.arena import Arena
from tests.cli.test_continuing import TOURNAMENT


@pytest.fixture
def run(arena: Arena) -> Arena:
    """The command, where a tournament of four matches lies."""
    Path("t.toml").write_text(TOURNAMENT)
    return arena


def play(run: Arena, out: str, *options: str) -> None:
    ended = run("run", "t.toml", "--runner", "local", "--mlflow", "none", "--no-reuse", "--out", out, *options)
    assert ended.code == 0, ended.err


def test_parts_are_merged_and_what_is_missing_is_said_and_played(run: Arena):
    play(run, "one", "--only", "attack=knockoff")
    play(run, "two", "--only", "attack=uniform-noise", "--only", "defense=none")
    merged = run("merge", "one", "two", "--out", "both")
    assert merged.code == 0, merged.err
    assert "3 results of 2 folders are in both" in merged.out
    assert "1 matches are in none of them; play them: arena resume both" in merged.out
    assert run("resume", "both").code == 0
    assert "4 results and 4 transcripts verified: nothing is damaged" in run("verify", "both").out


def test_merging_a_folder_alone_is_refused(run: Arena):
    play(run, "one", "--only", "attack=knockoff")
    ended = run("merge", "one", "--out", "both")
    assert ended.code == 2
    assert "give at least two different run folders" in ended.err


def test_pruning_shows_first_and_removes_only_when_told(run: Arena):
    play(run, "out")
    assert "Choose what to remove with --older-than" in run("prune", "out").out
    shown = run("prune", "out", "--down-to", "0")
    assert shown.code == 0
    assert "would free" in shown.out
    assert "Nothing was removed. The same command with --yes frees" in shown.out
    assert len(list(Path("out/transcripts").iterdir())) == 4
    assert "would free" not in run("prune", "out", "--down-to", "0", "--yes").out
    assert list(Path("out/transcripts").iterdir()) == []
    assert "4 results and 0 transcripts verified: nothing is damaged" in run("verify", "out").out


def test_pruning_the_cache_frees_what_can_be_trained_again(run: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "own"))
    play(run, "out")
    told = json.loads(run("prune", "--down-to", "0", "--yes", "--json").out)
    assert {"victim", "defense", "clone"} <= {file["kind"] for file in told["files"]}
    assert told["removed"]
    assert told["freed"] == told["bytes"] > 0
    assert list((tmp_path / "own").glob("*.safetensors")) == []
    assert json.loads(run("prune", "--json").out)["bytes"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--yes"], "--yes needs --older-than or --down-to"),
        (["--older-than", "30"], "an age is a number of hours, days or weeks, such as 12h"),
        (["--down-to", "much"], "a size is a number of bytes, such as 500MB"),
        (["nowhere"], "nowhere is not a run folder"),
    ],
)
def test_a_choice_that_is_none_is_refused(arena: Arena, options: list[str], said: str):
    ended = arena("prune", *options)
    assert ended.code == 2
    assert said in ended.err
