from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import LedgerUnavailable, MatchResult, Verdict, matchup_id
from arena.referee.journal import JOURNAL, Journal, journal_lines, link_of, read_entries, read_journal
from tests.tracking.matches import result


def test_gives_back_what_was_appended(tmp_path: Path):
    journal = Journal(tmp_path)
    for seed in range(3):
        journal.append(result(seed))
    assert journal.results == [result(seed) for seed in range(3)]
    assert list(read_journal(tmp_path)) == journal.results
    assert Journal(tmp_path).results == journal.results


def test_finds_the_last_result_of_a_match_by_its_id_also_after_it_was_opened_again(tmp_path: Path):
    journal = Journal(tmp_path)
    for one in (lost(0), result(1), result(0), lost(2)):
        journal.append(one)
    for opened in (journal, Journal(tmp_path)):
        assert opened.result_of(name_of(0)) == result(0)
        assert opened.result_of(name_of(2)) == lost(2)
        assert [name_of(seed) in opened for seed in range(4)] == [True, True, False, False]
        with pytest.raises(KeyError):
            opened.result_of(name_of(3))


def name_of(seed: int) -> str:
    return matchup_id(result(seed).matchup)


def lost(seed: int) -> MatchResult:
    """A match that the infrastructure lost, so that it has no result that stands."""
    return replace(result(seed), verdict=Verdict(outcome="infrastructure", fault="arena"))


def test_a_result_is_one_line_of_json(tmp_path: Path):
    Journal(tmp_path).append(result())
    (line,) = (tmp_path / JOURNAL).read_text().splitlines()
    assert json.loads(line)["matchup"]["seed"] == 3


def test_an_empty_folder_has_no_results(tmp_path: Path):
    assert Journal(tmp_path).results == list(read_journal(tmp_path)) == []


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_line_that_was_cut_off_is_left_out_and_then_overwritten(tmp_path: Path, kept: int):
    journal = Journal(tmp_path)
    journal.append(result(0))
    journal.append(result(1))
    first, second, _ = (tmp_path / JOURNAL).read_bytes().split(b"\n")
    (tmp_path / JOURNAL).write_bytes(first + b"\n" + second[:kept])
    assert list(read_journal(tmp_path)) == [result(0)]
    again = Journal(tmp_path)
    again.append(result(2))
    assert list(read_journal(tmp_path)) == again.results == [result(0), result(2)]


def test_a_full_disk_leaves_the_journal_as_it_was_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    journal = Journal(tmp_path)
    journal.append(result(0))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(LedgerUnavailable, match="No space left on device; make room, then `arena resume"):
            journal.append(result(1))
    assert list(read_journal(tmp_path)) == journal.results == [result(0)]
    journal.append(result(2))
    assert list(read_journal(tmp_path)) == [result(0), result(2)]


def test_lines_form_a_chain_that_goes_on_when_a_journal_is_opened_again(tmp_path: Path):
    Journal(tmp_path).append(result(0))
    journal = Journal(tmp_path, transcript_of=lambda result: f"digest {result.matchup.seed}")
    journal.append(result(1))
    journal.append(result(2), reused=True)
    link = ""
    for line, entry in zip(journal_lines(tmp_path), read_entries(tmp_path), strict=True):
        link = link_of(line, link)
        assert entry.link == link
    assert [(entry.reused, entry.transcript) for entry in read_entries(tmp_path)] == [
        (False, ""),
        (False, "digest 1"),
        (True, ""),
    ]


def test_every_byte_of_a_line_counts_and_so_does_the_line_before(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.append(result(0))
    journal.append(result(1))
    first, second = journal_lines(tmp_path)
    assert link_of(second.replace(b":", b": ", 1), link_of(first, "")) != link_of(second, link_of(first, ""))
    assert link_of(second, "") != link_of(second, link_of(first, ""))
