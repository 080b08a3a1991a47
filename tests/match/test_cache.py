from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from arena.match.cache import Cache


def test_gives_back_what_was_put(tmp_path: Path):
    cache = Cache(folder=tmp_path / "not" / "there" / "yet")
    assert cache.get("victim-1") is None
    cache.put("victim-1", b"weights")
    assert cache.get("victim-1") == b"weights"
    assert cache.get("victim-2") is None


def test_makes_what_is_missing_and_only_that(tmp_path: Path):
    cache = Cache(folder=tmp_path)
    made = []

    def make() -> bytes:
        made.append(1)
        return b"weights"

    assert [cache.once("key", make) for _ in range(3)] == [b"weights"] * 3
    assert len(made) == 1


@pytest.mark.parametrize("interrupted", ["fsync", "replace"])
def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: str):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    cache = Cache(folder=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(*((os, "fsync") if interrupted == "fsync" else (Path, "replace")), interrupt)
        with pytest.raises(KeyboardInterrupt):
            cache.put("key", b"half")
    assert list(tmp_path.iterdir()) == []
    assert cache.once("key", lambda: b"whole") == b"whole"


def test_what_could_not_be_made_is_made_by_the_next(tmp_path: Path):
    def fail() -> bytes:
        message = "out of memory"
        raise MemoryError(message)

    cache = Cache(folder=tmp_path)
    with pytest.raises(MemoryError):
        cache.once("key", fail)
    assert cache.once("key", lambda: b"made") == b"made"


def make_once(folder: Path, started: multiprocessing.synchronize.Barrier, log: Path) -> None:
    """Note each making in a file; both processes ask at the same moment."""

    def make() -> bytes:
        with log.open("a") as file:
            file.write("made\n")
        return b"weights"

    started.wait(30)
    assert Cache(folder=folder).once("key", make) == b"weights"


def test_of_two_processes_one_makes_it(tmp_path: Path):
    processes = multiprocessing.get_context("fork")
    started, log = processes.Barrier(2), tmp_path / "log"
    both = [processes.Process(target=make_once, args=(tmp_path / "cache", started, log)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert log.read_text() == "made\n"
