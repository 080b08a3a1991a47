"""What is said while a run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from arena.cli import watching
from tests.cli.arena import Arena

TOURNAMENT = """
name = "t"
victims = [{ name = "iris", arch = "mlp", steps = 20 }]
attacks = [{ name = "knockoff", steps = 5 }]
defenses = ["none"]
budgets = [10]
seeds = 1
recipe = { steps = 5 }
"""


def test_a_run_whose_output_is_no_terminal_says_now_and_then_how_far_it_is(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watching, "PIPE_SECONDS", 0.0)
    Path("t.toml").write_text(TOURNAMENT)
    ended = arena("run", "t.toml", "--runner", "local", "--mlflow", "none", "--out", "out", "--no-reuse")
    assert ended.code == 0, ended.err
    assert "0 running, 1 done, 0 left" in ended.err


def test_a_run_says_how_long_it_still_takes_once_a_match_has_ended(arena: Arena, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watching, "PIPE_SECONDS", 0.0)
    Path("t.toml").write_text(TOURNAMENT.replace("seeds = 1", "seeds = 3"))
    ended = arena("run", "t.toml", "--runner", "local", "--mlflow", "none", "--out", "out", "--no-reuse")
    assert ended.code == 0, ended.err
    first, *later = [line for line in ended.err.splitlines() if " done, " in line and " left" in line]
    assert "to go" not in first
    assert any("1 done, " in line and line.endswith(" s to go") for line in later)
