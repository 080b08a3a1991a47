from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from arena.cluster import scratch
from arena.cluster.scratch import LOCK, Scratch, remove_abandoned

OWNER = """
import os, sys
from pathlib import Path
from arena.cluster import scratch
scratch.PLACE = Path(sys.argv[1])
made = scratch.Scratch.make()
print(made.path, flush=True)
sys.stdin.read()
os._exit(1)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scratch, "PLACE", tmp_path)
    return tmp_path


def test_a_folder_is_gone_when_its_owner_removes_it():
    made = Scratch.make()
    (made.path / "sockets").mkdir()
    made.remove()
    assert not made.path.exists()


def test_a_folder_of_a_living_process_stays_and_that_of_a_killed_one_goes(place: Path):
    command = [sys.executable, "-c", OWNER, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        path = Path(owner.stdout.readline().strip())
        remove_abandoned(place)
        assert path.exists()
        owner.kill()
    mine = Scratch.make()
    assert not path.exists()
    remove_abandoned(place)
    assert mine.path.exists()
    mine.remove()


def test_what_is_not_ours_stays(place: Path):
    others = [place / "ray-of-somebody", place / "kept"]
    for path in others:
        path.mkdir()
    (place / "kept" / LOCK).touch()
    link = place / "ray-link"
    link.symlink_to(place / "kept")
    remove_abandoned(place)
    assert all(path.exists() for path in (*others, link))


def test_folders_are_readable_by_their_owner_alone():
    made = Scratch.make()
    assert made.path.stat().st_mode & 0o077 == 0
    made.remove()
