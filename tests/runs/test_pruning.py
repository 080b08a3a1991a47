from __future__ import annotations

import os
from pathlib import Path

import pytest

from arena.contracts import BadParameter, UnknownName
from arena.runs.folder import finished_results
from arena.runs.pruning import DAY, Prunable, age, cached_files, chosen, remove, size, size_in_words, transcripts_in
from arena.runs.verifying import verify
from tests.runs.small import play

NOW = 1_000 * DAY
FILES = [
    Prunable(path=Path(f"{days}"), kind="victim", size=days, used=NOW - days * DAY) for days in (5, 40, 10, 30, 20)
]


def days(files: list[Prunable]) -> list[int]:
    return [file.size for file in files]


def test_nothing_is_chosen_without_an_age_or_a_size():
    assert chosen(FILES, now=NOW) == []


def test_what_was_not_used_for_longer_is_chosen():
    assert days(chosen(FILES, now=NOW, older_than=20 * DAY)) == [40, 30]


def test_what_was_not_used_for_longest_is_chosen_until_the_rest_is_small_enough():
    assert days(chosen(FILES, now=NOW, down_to=105)) == []
    assert days(chosen(FILES, now=NOW, down_to=104)) == [40]
    assert days(chosen(FILES, now=NOW, down_to=20)) == [40, 30, 20]
    assert days(chosen(FILES, now=NOW, down_to=0)) == [40, 30, 20, 10, 5]


def test_age_and_size_together_choose_what_either_does():
    assert days(chosen(FILES, now=NOW, older_than=35 * DAY, down_to=50)) == [40, 30]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 30 * DAY), ("12h", DAY / 2), ("2w", 14 * DAY), ("1.5 D", 1.5 * DAY)]
)
def test_ages_are_read(text: str, seconds: float):
    assert age(text) == seconds


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("500MB", 500_000_000), ("2g", 2 * 10**9), ("1.5 kB", 1_500)])
def test_sizes_are_read(text: str, number: int):
    assert size(text) == number


@pytest.mark.parametrize("text", ["", "30", "d", "-3d", "3 years"])
def test_an_age_that_is_none_is_refused(text: str):
    with pytest.raises(BadParameter, match="such as 12h, 30d or 2w"):
        age(text)


@pytest.mark.parametrize("text", ["", "many", "-3MB", "3 pages"])
def test_a_size_that_is_none_is_refused(text: str):
    with pytest.raises(BadParameter, match="such as 500MB or 2GB"):
        size(text)


def test_sizes_are_shown_in_a_fitting_unit():
    assert [size_in_words(one) for one in (999, 1_500, 2_000_000, 10**9)] == ["999 bytes", "1.5 kB", "2.0 MB", "1.0 GB"]


def test_the_cache_is_listed_by_kind_without_its_locks(tmp_path: Path):
    (tmp_path / "victim-1f.safetensors").write_bytes(b"123")
    (tmp_path / "clone-2e.safetensors").write_bytes(b"12")
    (tmp_path / ".victim-1f.lock").touch()
    assert [(file.kind, file.size) for file in cached_files(tmp_path)] == [("clone", 2), ("victim", 3)]


def test_the_last_use_counts_rather_than_the_making(tmp_path: Path):
    path = tmp_path / "victim-1f.safetensors"
    path.write_bytes(b"123")
    os.utime(path, (50.0, 20.0))
    assert cached_files(tmp_path)[0].used == 50.0


def test_a_run_whose_transcripts_are_pruned_keeps_its_results_and_knows_what_is_gone(tmp_path: Path, cache: Path):
    run = play(tmp_path / "run", cache)
    files = transcripts_in(run)
    assert {file.kind for file in files} == {"transcript"}
    remove(files[:3], folders=[run])
    assert [file.path for file in transcripts_in(run)] == [files[3].path]
    found = verify(run)
    assert (found.results, found.transcripts, found.damages) == (4, 1, ())
    assert len(found.notes) == 3
    assert len(finished_results(run).results) == 4
    remove(files[3:], folders=[run])
    assert len(verify(run).notes) == 4


def test_a_folder_without_a_run_has_no_transcripts_to_prune(tmp_path: Path):
    with pytest.raises(UnknownName, match="is not a run folder"):
        transcripts_in(tmp_path)
