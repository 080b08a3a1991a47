"""``arena check`` says what is wrong with an entry, and how to see that again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.arena import Arena

MANIFEST = """name = "mine"
role = "attack"
entry = "attack:Mine"
"""

ATTACK = """from dataclasses import dataclass

from arena.contracts import Attack
from arena.learning.architectures import build


@dataclass(frozen=True, kw_only=True)
class Mine(Attack):
    def extract(self, oracle, context, *, rng):
        if oracle.remaining == 96:
            oracle.query(context.pool[:96])
        return build("linear", oracle.task, rng=rng)
"""


@pytest.fixture
def folder(arena: Arena) -> Path:
    """An entry that spends its budget only if that is the one of the known matchup."""
    folder = Path("agents/mine").absolute()
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text(MANIFEST)
    (folder / "attack.py").write_text(ATTACK)
    return folder


def test_what_fails_is_printed_with_the_command_that_shows_it_again(arena: Arena, folder: Path):
    ended = arena("check", str(folder))
    assert ended.code == 1
    found = re.search(r"repeat with: arena (check \S+ --only unforeseen --seed \d+)\n", ended.out)
    assert found, ended.out
    again = arena(*found.group(1).split())
    assert again.code == 1
    assert again.out.count("repeat with: ") == ended.out.count("repeat with: ")


def test_one_check_may_be_run_alone(arena: Arena, folder: Path):
    ended = arena("check", str(folder), "--only", "budget", "--json")
    assert ended.code == 0
    assert [(finding["check"], finding["passed"]) for finding in json.loads(ended.out)] == [("budget", True)]


def test_a_check_that_does_not_exist_is_named(arena: Arena, folder: Path):
    ended = arena("check", str(folder), "--only", "budgets")
    assert ended.code == 2
    assert "did you mean 'budget'" in ended.err
