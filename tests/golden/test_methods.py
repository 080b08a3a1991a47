"""Each built-in method answers as it is recorded under its version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arena.match.site import Site
from arena.registry import Role
from tests.golden.methods import FILE, Record, record_of, recorded_names
from tests.golden.record import fingerprint

NEARLY = 0.3  # of a share, on another machine type: clones of 40 rows differ by some test rows
GOLDEN = json.loads(FILE.read_text())


def moved(golden: Record, again: Record, *, same_machine: bool) -> bool:
    """Whether a method's answers are others than those recorded under its version."""
    if same_machine:
        return golden["digest"] != again["digest"]
    return again["nearly"] != pytest.approx(golden["nearly"], abs=NEARLY)


def test_every_built_in_is_recorded_and_nothing_else():
    assert set(GOLDEN["methods"]) == {f"{role} {name}" for role, name in recorded_names()}


@pytest.mark.parametrize(("role", "name"), recorded_names())
def test_answers_move_only_with_a_new_version(role: Role, name: str, tmp_path: Path, cache: Path):
    golden, again = GOLDEN["methods"][f"{role} {name}"], record_of(role, name, Site(work=tmp_path, cache=cache))
    assert again["version"] == golden["version"], "record a new version anew: python -m tests.golden.methods"
    assert not moved(golden, again, same_machine=GOLDEN["fingerprint"] == fingerprint()), (
        "its answers moved: give it a new version in arena/registry/builtins.py, or undo the change"
    )


def test_a_moved_digest_is_seen_on_the_recorded_machine_and_a_large_move_anywhere():
    golden: Record = {"digest": "a", "nearly": [40, 1, 0.5]}
    assert moved(golden, {"digest": "b", "nearly": [40, 1, 0.5]}, same_machine=True)
    assert moved(golden, {"digest": "b", "nearly": [39, 1, 0.5]}, same_machine=False)
    assert not moved(golden, {"digest": "b", "nearly": [40, 1, 0.6]}, same_machine=False)
