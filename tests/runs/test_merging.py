from __future__ import annotations

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import (
    BadParameter,
    LedgerCorrupt,
    MatchResult,
    RunFolderBusy,
    RunFolderChanged,
    RunFolderExists,
    Verdict,
)
from arena.referee.journal import JOURNAL, Journal, read_journal
from arena.report.files import read_results, write_results
from arena.runs.folder import TRANSCRIPTS, alone_in, file_digest, open_run_folder, transcript_path
from arena.runs.merging import Merged, merge
from arena.runs.verifying import verify
from tests.cluster.tiny import attack_entry, table
from tests.forked import forked
from tests.runs.small import play


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> dict[str, Path]:
    """The tournament played whole, in two parts that share a match, and with another seed."""
    folder = tmp_path_factory.mktemp("parts")
    return {
        "whole": play(folder / "whole", cache),
        "knockoff": play(folder / "knockoff", cache, only=["attack=knockoff"]),
        "none": play(folder / "none", cache, only=["defense=none"]),
        "seed": play(folder / "seed", cache, seeds=[1]),
    }


def rewritten(folder: Path, change: MatchResult) -> None:
    """Write a run's files anew with its first result changed."""
    results = [change, *list(read_journal(folder))[1:]]
    (folder / JOURNAL).unlink()
    journal = Journal(folder, transcript_of=lambda result: file_digest(transcript_path(folder, result)))
    for result in results:
        journal.append(result)
    write_results(folder, results)


def test_parts_make_the_whole(parts: dict[str, Path], tmp_path: Path, cache: Path):
    rest = play(tmp_path / "rest", cache, only=["attack=uniform-noise", "defense=rounding"])
    out = tmp_path / "out"
    assert merge([parts["knockoff"], parts["none"], rest], out) == Merged(results=4, missing=0)
    assert table(read_results(out)) == table(read_results(parts["whole"]))
    found = verify(out)
    assert (found.results, found.transcripts, found.damages, found.notes) == (4, 4, (), ())


def test_what_no_part_played_is_missing_and_the_parts_stay_as_they_are(parts: dict[str, Path], tmp_path: Path):
    before = {path: path.read_bytes() for part in parts.values() for path in part.rglob("*") if path.is_file()}
    assert merge([parts["knockoff"], parts["none"]], tmp_path / "out") == Merged(results=3, missing=1)
    assert {path: path.read_bytes() for part in parts.values() for path in part.rglob("*") if path.is_file()} == before


def test_parts_with_other_seeds_add_up(parts: dict[str, Path], tmp_path: Path):
    assert merge([parts["whole"], parts["seed"]], tmp_path / "out") == Merged(results=8, missing=0)
    assert open_run_folder(tmp_path / "out").tournament.seeds == (0, 1)
    assert verify(tmp_path / "out").damages == ()


def test_a_result_takes_the_place_of_a_lost_match(parts: dict[str, Path], tmp_path: Path):
    lost = shutil.copytree(parts["knockoff"], tmp_path / "lost")
    first = next(read_journal(lost))
    rewritten(lost, replace(first, transcript_digest="", verdict=Verdict(outcome="infrastructure", fault="arena")))
    merge([lost, parts["knockoff"]], tmp_path / "out")
    assert {result.verdict.outcome for result in read_results(tmp_path / "out")} == {"completed"}


def test_a_result_with_its_transcript_takes_the_place_of_a_reused_one(
    parts: dict[str, Path], tmp_path: Path, cache: Path
):
    reused = play(tmp_path / "reused", cache, reuse=[parts["whole"]])
    merge([reused, parts["knockoff"]], tmp_path / "out")
    assert len(list((tmp_path / "out" / TRANSCRIPTS).iterdir())) == 2
    assert verify(tmp_path / "out").damages == ()


def test_parts_of_other_tournaments_are_refused_with_what_differs(parts: dict[str, Path], tmp_path: Path, cache: Path):
    other = play(tmp_path / "other", cache, budgets=[11])
    with pytest.raises(RunFolderExists, match=r"other holds another tournament than .*whole \(budgets: only in"):
        merge([parts["whole"], other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_parts_with_different_code_of_an_entry_are_refused(tmp_path: Path, cache: Path):
    entry = tmp_path / "mine"
    attack_entry(entry, "pass", asks=5)
    one = play(tmp_path / "one", cache, attacks=[{"path": str(entry)}])
    (entry / "mine.py").write_text((entry / "mine.py").read_text() + "# another idea\n")
    two = play(tmp_path / "two", cache, attacks=[{"path": str(entry)}])
    with pytest.raises(RunFolderChanged, match=r"different things \(the attack mine\)"):
        merge([one, two], tmp_path / "out")


def test_parts_that_disagree_about_a_match_are_refused(parts: dict[str, Path], tmp_path: Path):
    other = shutil.copytree(parts["knockoff"], tmp_path / "other")
    rewritten(other, replace(next(read_journal(other)), clone_digest="0" * 32))
    with pytest.raises(BadParameter, match="disagree about the match"):
        merge([parts["whole"], other], tmp_path / "out")


def test_a_damaged_part_is_refused(parts: dict[str, Path], tmp_path: Path):
    damaged = shutil.copytree(parts["none"], tmp_path / "damaged")
    next((damaged / TRANSCRIPTS).iterdir()).unlink()
    with pytest.raises(LedgerCorrupt, match=r"damaged is damaged \(transcripts/.* is missing"):
        merge([parts["knockoff"], damaged], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_in_use_is_not_written_to(parts: dict[str, Path], tmp_path: Path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(RunFolderExists, match="is not empty"):
        merge([parts["knockoff"], parts["none"]], tmp_path)
    assert (tmp_path / "mine").read_text() == "precious"


def test_one_folder_twice_is_refused(parts: dict[str, Path], tmp_path: Path):
    with pytest.raises(BadParameter, match="at least two different run folders"):
        merge([parts["none"], parts["none"] / "." / ""], tmp_path / "out")


def hold(folder: Path) -> None:
    """Lock a run folder until this process is killed."""
    with alone_in(folder):
        print("held", flush=True)
        signal.pause()


def test_a_part_that_is_being_played_is_refused(parts: dict[str, Path], tmp_path: Path):
    with forked(hold, parts["none"]) as other:
        assert other.out.readline() == "held\n"
        with pytest.raises(RunFolderBusy):
            merge([parts["knockoff"], parts["none"]], tmp_path / "out")
