"""A run is damaged in every way that it can be, and each time `verify` names what is damaged."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import UnknownName, matchup_id
from arena.referee.journal import JOURNAL, Journal, read_journal
from arena.report.files import RESULTS_CSV, RESULTS_JSON, write_results
from arena.runs.folder import (
    PRUNED,
    SETTINGS,
    TOURNAMENT,
    TRANSCRIPTS,
    file_digest,
    transcript_path,
)
from arena.runs.verifying import Verified, verify
from tests.runs.small import play

MATCHES = 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A finished run of four matches."""
    return play(tmp_path_factory.mktemp("whole") / "run", cache)


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(whole, tmp_path / "run")


def ledgers(run: Path) -> list[Path]:
    return sorted((run / TRANSCRIPTS).glob("*.sqlite"))


def whats(found: Verified) -> list[str]:
    return [damage.what for damage in found.damages]


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def edit(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def files(run: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(run).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in run.rglob("*")
        if path.is_file()
    }


def test_a_run_as_it_was_played_is_verified_and_nothing_is_written(run: Path):
    before = files(run)
    found = verify(run)
    assert (found.results, found.transcripts, found.damages, found.notes) == (MATCHES, MATCHES, (), ())
    assert files(run) == before


def test_a_flipped_byte_in_every_997th_place_of_a_ledger_is_named(run: Path):
    path = ledgers(run)[0]
    data = path.read_bytes()
    for place in range(0, len(data), 997):
        flip(path, place)
        assert whats(verify(run)) == [f"{TRANSCRIPTS}/{path.name}"], place
        path.write_bytes(data)
    assert verify(run).damages == ()


def test_a_flipped_byte_in_every_97th_place_of_the_journal_is_named(run: Path):
    path = run / JOURNAL
    data = path.read_bytes()
    ends = [place for place, byte in enumerate(data) if byte == ord("\n")]
    for place in range(0, len(data), 97):
        flip(path, place)
        line = sum(end < place for end in ends) + 1
        assert any(what.startswith(f"{JOURNAL} line {line}") for what in whats(verify(run))), place
        path.write_bytes(data)


@pytest.mark.parametrize("name", [RESULTS_JSON, RESULTS_CSV, TOURNAMENT])
def test_a_flipped_byte_in_every_97th_place_of_another_file_is_named(run: Path, name: str):
    path = run / name
    data = path.read_bytes()
    for place in range(0, len(data), 97):
        flip(path, place)
        assert any(what.startswith(name) for what in whats(verify(run))), place
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM call WHERE number = 1", "hash chain is broken"),
        ("DELETE FROM call WHERE number = (SELECT max(number) FROM call)", "totals do not match"),
        ("DELETE FROM call", "totals do not match its calls"),
        ("UPDATE ledger SET spent = 0", "totals do not match its calls"),
        ("UPDATE ledger SET budget = 20", "hash chain is broken"),
        ("UPDATE call SET price = 0", "hash chain is broken"),
        ("UPDATE call SET posteriors = zeroblob(length(posteriors))", "hash chain is broken"),
        ("UPDATE ledger SET digest = NULL", "was not closed"),
        ("UPDATE ledger SET distinct_rows = 1", "its bytes are not those of the end of its match"),
        ("DROP TABLE call", "no such table"),
    ],
)
def test_an_edited_ledger_is_named_with_what_is_wrong(run: Path, statement: str, said: str):
    edit(ledgers(run)[1], statement)
    (damage,) = verify(run).damages
    assert damage.what == f"{TRANSCRIPTS}/{ledgers(run)[1].name}"
    assert said in damage.problem


def test_a_removed_ledger_is_named_with_its_match(run: Path):
    gone = ledgers(run)[2]
    gone.unlink()
    (damage,) = verify(run).damages
    assert damage.what == f"{TRANSCRIPTS}/{gone.name}"
    assert f"is missing: it is the transcript of match {gone.stem[:16]}" in damage.problem


def test_the_ledger_of_another_match_is_named_even_if_it_is_sound(run: Path):
    first, second = ledgers(run)[:2]
    first.write_bytes(second.read_bytes())
    (damage,) = verify(run).damages
    assert damage.what == f"{TRANSCRIPTS}/{first.name}"
    assert "the result says transcript digest" in damage.problem


def test_a_pruned_transcript_is_no_damage_but_is_said(run: Path):
    gone = ledgers(run)[0]
    gone.unlink()
    (run / PRUNED).write_text(json.dumps([gone.name]))
    found = verify(run)
    assert found.damages == ()
    assert found.notes == (f"{TRANSCRIPTS}/{gone.name} was pruned",)


def test_a_changed_count_is_named_wherever_it_was_changed(run: Path):
    results = json.loads((run / RESULTS_JSON).read_text())
    results[1]["counts"]["a/fidelity"][0] += 1
    (run / RESULTS_JSON).write_text(json.dumps(results, indent=1) + "\n")
    in_json, in_csv = verify(run).damages
    assert in_json.what.startswith(f"{RESULTS_JSON}, match {matchup_id(list(read_journal(run))[1].matchup)}")
    assert in_json.problem == f"its counts are not those in {JOURNAL}"
    assert in_csv.what == RESULTS_CSV
    lines = (run / JOURNAL).read_text().splitlines()
    changed = lines[2].replace('"b/accuracy":[', '"b/accuracy":[1', 1)
    (run / JOURNAL).write_text("\n".join([*lines[:2], changed, *lines[3:]]) + "\n")
    assert f"{JOURNAL} line 3" in whats(verify(run))


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_dropped_line_of_the_journal_is_named(run: Path, number: int):
    lines = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    del lines[number]
    (run / JOURNAL).write_bytes(b"".join(lines))
    named = whats(verify(run))
    if number < MATCHES - 1:
        assert f"{JOURNAL} line {number + 1}" in named
    assert any(what.startswith(f"{RESULTS_JSON}, match") for what in named)


def rewritten(run: Path, change: Callable[[int], dict[str, object]], repeated: int = 0) -> None:
    """Write the journal and the result files anew, as somebody who knows the format would, with changed results."""
    results = [replace(result, **change(number)) for number, result in enumerate(read_journal(run))]
    (run / JOURNAL).unlink()
    journal = Journal(run, transcript_of=lambda result: file_digest(transcript_path(run, result)))
    for result in [*results, *results[:repeated]]:
        journal.append(result)
    write_results(run, results)


@pytest.mark.parametrize("field", ["spent", "rows", "distinct_rows", "calls"])
def test_a_charge_that_the_ledger_does_not_have_is_named_although_every_file_agrees(run: Path, field: str):
    rewritten(run, lambda number: {field: 9} if number == 1 else {})
    (damage,) = verify(run).damages
    assert damage.what.startswith(TRANSCRIPTS)
    assert f"the result says {field.replace('_', ' ')} 9, but the ledger " in damage.problem


def test_a_result_under_a_wrong_key_is_named(run: Path):
    rewritten(run, lambda number: {"key": "0123456789abcdef"} if number == 0 else {})
    (damage,) = verify(run).damages
    assert damage.what.startswith("match ")
    assert "its key '0123456789abcdef' is not that of its terms, players and data" in damage.problem


def test_a_doubled_result_and_an_impossible_count_are_named(run: Path):
    rewritten(run, lambda number: {"counts": {"a/fidelity": (30, 20)}} if number == 3 else {}, repeated=1)
    problems = [damage.problem for damage in verify(run).damages]
    assert f"has 2 results in {JOURNAL}" in problems
    assert "its score a/fidelity is 30 of 20" in problems


def test_a_changed_record_of_what_the_run_depends_on_is_named(run: Path):
    settings = json.loads((run / SETTINGS).read_text())
    settings["inputs"]["the data of iris(arch=mlp, steps=20)"] = "0" * 16
    (run / SETTINGS).write_text(json.dumps(settings))
    (damage,) = verify(run).damages
    assert damage.what == SETTINGS
    assert "its record of the data of iris" in damage.problem


def test_matchups_that_are_not_those_of_the_tournament_are_named(run: Path):
    settings = json.loads((run / SETTINGS).read_text())
    settings["matchups"][0] = "0" * 16
    (run / SETTINGS).write_text(json.dumps(settings))
    assert f"its matchups are not those of {TOURNAMENT}" in [damage.problem for damage in verify(run).damages]


def test_settings_that_cannot_be_read_are_named(run: Path):
    (run / SETTINGS).write_text("{")
    assert SETTINGS in whats(verify(run))


def test_what_a_killed_run_leaves_is_no_damage(run: Path):
    lines = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    (run / JOURNAL).write_bytes(b"".join(lines[:2]) + lines[2][:50])
    (run / RESULTS_JSON).unlink()
    (run / RESULTS_CSV).unlink()
    found = verify(run)
    assert (found.results, found.transcripts, found.damages) == (2, 2, ())
    assert any("only partly written" in note for note in found.notes)
    assert "2 transcripts have no result: their matches were not finished" in found.notes
    assert any(note.startswith("2 matches have no result yet") for note in found.notes)


def test_reused_results_need_no_transcript(whole: Path, tmp_path: Path, cache: Path):
    folder = play(tmp_path / "second", cache, reuse=[whole])
    found = verify(folder)
    assert (found.results, found.transcripts, found.damages, found.notes) == (MATCHES, 0, (), ())


def test_a_journal_from_before_the_hash_chain_is_read_and_its_missing_transcripts_are_only_noted(run: Path):
    entries = [json.loads(line) for line in (run / JOURNAL).read_text().splitlines()]
    for entry in entries:
        del entry["link"], entry["transcript"]
    (run / JOURNAL).write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    ledgers(run)[0].unlink()
    found = verify(run)
    assert (found.results, found.transcripts, found.damages) == (MATCHES, MATCHES - 1, ())
    assert any("the result may have been reused" in note for note in found.notes)


def test_a_folder_without_a_run_is_refused(tmp_path: Path):
    with pytest.raises(UnknownName, match="is not a run folder"):
        verify(tmp_path)
