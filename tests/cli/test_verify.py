from __future__ import annotations

import json
from pathlib import Path

from tests.cli.arena import Arena
from tests.cli.test_continuing import TOURNAMENT


def test_says_what_was_verified_and_names_damage_in_one_line_each(arena: Arena):
    Path("t.toml").write_text(TOURNAMENT)
    played = arena("run", "t.toml", "--runner", "local", "--mlflow", "none", "--out", "out", "--no-reuse")
    assert played.code == 0, played.err
    whole = arena("verify", "out")
    assert (whole.code, whole.out) == (0, "4 results and 4 transcripts verified: nothing is damaged\n")
    gone = sorted(Path("out/transcripts").iterdir())[0]
    gone.unlink()
    damaged = arena("verify", "out")
    assert damaged.code == 1
    first, last = damaged.out.splitlines()
    assert first.startswith(f"damaged: transcripts/{gone.name}: is missing")
    assert last == "4 results and 3 transcripts verified: 1 damaged"
    as_json = arena("verify", "out", "--json")
    assert as_json.code == 1
    found = json.loads(as_json.out)
    assert (found["damaged"], found["results"], found["transcripts"]) == (True, 4, 3)
    assert [damage["what"] for damage in found["damages"]] == [f"transcripts/{gone.name}"]


def test_a_folder_without_a_run_is_refused(arena: Arena):
    ended = arena("verify", "nowhere")
    assert ended.code == 2
    assert "nowhere is not a run folder" in ended.err
