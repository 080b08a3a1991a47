"""The commands that play entries: in a sandbox, or without one where that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arena.contracts.flags import UNSAFE
from arena.sandbox import bubblewrap
from tests.cli.arena import Arena
from tests.entries import entries
from tests.sandbox.boxes import needs_bubblewrap

pytestmark = [pytest.mark.usefixtures("environment"), *needs_bubblewrap]

TOURNAMENT = """
name = "entries"
budgets = [20]
seeds = 1
pools = ["same"]
victims = [{{ name = "digits", arch = "mlp", steps = 100 }}]
attacks = [{{ path = "{path}" }}]
defenses = ["none"]
recipe = {{ arch = "mlp", steps = 10 }}
"""


def tournament(folder: Path) -> Path:
    entries.attack(folder / "mine")
    (folder / "t.toml").write_text(TOURNAMENT.format(path=folder / "mine"))
    return folder / "t.toml"


def results(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((folder / "results.json").read_text())
    return found


def test_a_tournament_plays_entries_in_a_sandbox_and_counts_their_gain(arena: Arena, tmp_path: Path):
    ended = arena("run", tournament(tmp_path), "--runner", "local", "--mlflow", "none", "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    (result,) = results(tmp_path / "run")
    assert result["isolation"] == "sandbox"
    assert "attack/control" in result["counts"]  # type: ignore[operator]
    assert UNSAFE not in result["flags"]  # type: ignore[operator]


def test_without_a_sandbox_entries_are_refused_or_flagged(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bubblewrap, "PROGRAM", "no-such-program")
    run = ("run", tournament(tmp_path), "--runner", "local", "--mlflow", "none", "--out", tmp_path / "run")
    refused = arena(*run)
    assert refused.code == 2
    assert "no-such-program is not installed" in " ".join(refused.err.split())
    assert "--unsafe" in refused.err
    assert not (tmp_path / "run").exists()
    ended = arena(*run, "--unsafe")
    assert ended.code == 0, ended.err
    (result,) = results(tmp_path / "run")
    assert result["isolation"] == "in-process"
    assert UNSAFE in result["flags"]  # type: ignore[operator]
    assert "mine +unsafe" in " ".join(ended.out.split())
    monkeypatch.setattr(bubblewrap, "PROGRAM", "bwrap")
    resumed = arena("resume", tmp_path / "run")
    assert resumed.code == 2
    assert "add --unsafe to continue like that" in " ".join(resumed.err.split())
