"""``arena compare``: two run folders, and an exit code for somebody's continuous integration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arena.contracts import MatchResult
from arena.report.files import write_results
from tests.cli.arena import Arena
from tests.payoff.matches import match, over_seeds

BEFORE = [800, 810, 820, 830, 840]


def folder(path: Path, results: list[MatchResult]) -> Path:
    path.mkdir()
    write_results(path, results)
    return path


@pytest.fixture
def better(tmp_path: Path) -> Path:
    return folder(tmp_path / "better", over_seeds("knockoff", "mad", BEFORE))


@pytest.fixture
def worse(tmp_path: Path) -> Path:
    return folder(tmp_path / "worse", over_seeds("knockoff", "mad", [one + 100 for one in BEFORE]))


def test_it_fails_where_something_moved_for_the_worse(arena: Arena, better: Path, worse: Path):
    ended = arena("compare", better, worse, "--fail-on", "worse")
    assert ended.code == 1
    assert "1 moved, 1 for the worse" in " ".join(ended.out.split())
    assert "+10.0" in ended.out


def test_it_fails_on_an_improvement_only_if_any_movement_counts(arena: Arena, better: Path, worse: Path):
    assert arena("compare", worse, better, "--fail-on", "worse").code == 0
    assert arena("compare", worse, better, "--fail-on", "moved").code == 1
    assert arena("compare", better, worse).code == 0


def test_the_same_run_twice_moved_nothing(arena: Arena, better: Path):
    ended = arena("compare", better, better, "--fail-on", "moved")
    assert (ended.code, "0 moved" in ended.out) == (0, True)


def test_json_has_the_verdict_and_every_number(arena: Arena, better: Path, worse: Path):
    found = json.loads(arena("compare", better, worse, "--json").out)
    assert {one["measured"]: one["moved"] for one in found["found"]} == {
        "fidelity": True,
        "honest accuracy lost": False,
    }
    assert found["verdict"].startswith("2 numbers compared")


def test_runs_without_anything_in_common_are_a_mistake(arena: Arena, better: Path, tmp_path: Path):
    ended = arena("compare", better, folder(tmp_path / "other", over_seeds("maze", "none", BEFORE)))
    assert ended.code == 2
    assert "nothing can be compared" in ended.err


def test_a_check_that_tested_nothing_does_not_pass(arena: Arena, tmp_path: Path):
    one, two = (folder(tmp_path / name, [match(fidelity=fidelity)]) for name, fidelity in (("one", 800), ("two", 900)))
    assert arena("compare", one, two).code == 0
    ended = arena("compare", one, two, "--fail-on", "worse")
    assert ended.code == 2
    assert "nothing could be tested" in ended.err
