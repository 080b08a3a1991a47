"""Queries as pictures, with what was released and what the undefended victim says about the same row."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from arena.contracts import MatchResult, Spec, matchup_id
from arena.match.site import Site
from arena.report.examples import PICTURE_BYTES, PICTURES, SHOWN_QUERIES, TRANSCRIPTS, examples_of, picture_of
from tests.players import MATCHUP, played

ROUNDED = replace(MATCHUP, defense=Spec(name="label-only"))


@pytest.fixture
def run(tmp_path: Path, cache: Path) -> Path:
    folder = tmp_path / "run"
    (folder / TRANSCRIPTS).mkdir(parents=True)
    return folder


@pytest.fixture
def results(run: Path, cache: Path) -> list[MatchResult]:
    """The same attack with the same seed, against the undefended victim and against one that releases labels."""
    site = Site(work=run / TRANSCRIPTS, cache=cache)
    return [played(matchup, site) for matchup in (MATCHUP, ROUNDED)]


def test_released_and_clean_posteriors_are_of_the_same_row(run: Path, results: list[MatchResult]):
    found = examples_of(results, run)
    undefended, defended = (found[matchup_id(one.matchup)].queries for one in results)
    assert len(undefended) == len(defended) == SHOWN_QUERIES
    for one, other in zip(undefended, defended, strict=True):
        assert one.picture == other.picture
        assert one.released == one.clean == other.clean
        assert sorted(other.released) == [0.0] * 9 + [1.0]


def test_without_an_undefended_match_the_clean_posteriors_are_unknown(run: Path, results: list[MatchResult]):
    (found,) = examples_of(results[1:], run).values()
    assert all(one.clean == () for one in found.queries)


def test_a_damaged_or_missing_transcript_is_told(run: Path, results: list[MatchResult]):
    path = next((run / TRANSCRIPTS).glob(f"{matchup_id(ROUNDED)}*.sqlite"))
    path.write_bytes(path.read_bytes()[:1_000])
    assert "no readable transcript" in examples_of(results, run)[matchup_id(ROUNDED)].why_not
    path.unlink()
    assert "no readable transcript" in examples_of(results, run)[matchup_id(ROUNDED)].why_not


def test_a_picture_is_a_png_of_the_same_size_and_values():
    row = torch.tensor([[[0.0, 0.5], [1.0, 0.2]]])
    image = Image.open(io.BytesIO(base64.b64decode(picture_of(row))))
    assert image.size == (2, 2)
    assert list(image.tobytes()) == [0, 127, 255, 51]


@pytest.mark.parametrize("row", [torch.zeros(4), torch.zeros(2, 3, 3), torch.full((1, 2, 2), float("nan"))])
def test_what_is_no_image_has_no_picture(row: torch.Tensor):
    assert picture_of(row) == ""


def test_pictures_outside_the_run_folder_are_not_read(run: Path, results: list[MatchResult]):
    (run.parent / "secret.png").write_bytes(b"\x89PNG secret")
    sly = [replace(one, pictures=("../secret.png", "/etc/passwd")) for one in results]
    assert all(one.images == () for one in examples_of(sly, run).values())


def test_a_picture_that_is_too_large_missing_or_none_is_told(run: Path, results: list[MatchResult]):
    (run / PICTURES).mkdir()
    (run / PICTURES / "large.png").write_bytes(b"\x89PNG" + bytes(PICTURE_BYTES))
    (run / PICTURES / "words.png").write_text("no picture")
    (run / PICTURES / "small.png").write_bytes(base64.b64decode(picture_of(torch.rand(1, 4, 4))))
    names = ("gone.png", "large.png", "small.png", "words.png")
    (found,) = examples_of([replace(results[0], pictures=names)], run).values()
    assert len(found.images) == 1
    assert "gone.png is missing" in found.why_not
    assert "large.png has 200 kB, and at most 200 kB fit here" in found.why_not
    assert "words.png in the run folder is no PNG file" in found.why_not
    assert "small.png" not in found.why_not
    assert len(found.queries) == SHOWN_QUERIES
