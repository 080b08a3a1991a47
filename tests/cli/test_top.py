from __future__ import annotations

import json
from pathlib import Path

from arena.referee.journal import JOURNAL
from tests.cli.arena import Arena
from tests.cli.test_continuing import TOURNAMENT


def test_shows_how_far_a_run_is_and_what_to_do_next(arena: Arena):
    Path("t.toml").write_text(TOURNAMENT)
    played = arena("run", "t.toml", "--runner", "local", "--mlflow", "none", "--out", "out", "--no-reuse")
    assert played.code == 0, played.err
    finished = arena("top", "out")
    assert finished.code == 0, finished.err
    for words in ("out: finished", "4 of 4 done, 0 running, 0 left", "none so far", "arena report out"):
        assert words in finished.out
    lines = Path("out", JOURNAL).read_bytes().splitlines(keepends=True)
    Path("out", JOURNAL).write_bytes(lines[0])
    assert "arena resume out" in arena("top", "out", "--once").out
    found = json.loads(arena("top", "out", "--json").out)
    assert (found["state"], found["total"], found["done"], found["left"]) == ("stopped", 4, 1, 3)


def test_a_folder_without_a_run_is_refused(arena: Arena):
    ended = arena("top", "nowhere")
    assert ended.code == 2
    assert "nowhere is not a run folder" in ended.err
