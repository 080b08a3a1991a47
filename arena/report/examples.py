"""A few queries of a match as pictures, with the released posteriors beside those of the undefended victim.

The victim is not run for this: the posteriors that it gives to a row are taken from the transcripts of matches without a
defense, in which honest users, and often the attack as well, query the same rows.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from arena.contracts import LedgerCorrupt, LedgerUnavailable, MatchResult, matchup_id
from arena.learning.tensors import row_digests
from arena.oracle.sqlite_ledger import read_transcript
from arena.oracle.transcript import Transcript
from arena.payoff.matrix import label

TRANSCRIPTS, PICTURES = "transcripts", "pictures"  # folders of a run
SHOWN_QUERIES = 4  # of a match
SHOWN_MATCHES = 60  # the first ones of as many cells: pictures are most of a report's size
REFERENCES = 10  # undefended matches whose answers are looked up
PICTURE_BYTES = 200_000  # of a threat's image; larger ones stay in the run folder
PNG_BEGINS = b"\x89PNG"
IMAGE_CHANNELS = {1: "L", 3: "RGB"}


@dataclass(frozen=True, kw_only=True)
class Example:
    """One query: its picture and map as PNG in base64 (empty: no image), and the posteriors; ``clean`` is empty if unknown."""

    picture: str
    explanation: str
    released: tuple[float, ...]
    clean: tuple[float, ...]
    refused: bool


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The examples of one match, the images that threats made, and why something is not shown; empty if nothing is."""

    queries: tuple[Example, ...] = ()
    images: tuple[str, ...] = ()  # PNG in base64
    why_not: str = ""


def examples_of(results: Sequence[MatchResult], folder: Path | None) -> dict[str, Examples]:
    """Return the examples of the first match of each cell, by match id; the others have none."""
    if folder is None:
        return {}
    shown = _first_of_each_cell(results)[:SHOWN_MATCHES]
    clean = _clean_posteriors(results, folder)
    return {matchup_id(one.matchup): _examples(one, folder, clean) for one in shown}


def _first_of_each_cell(results: Iterable[MatchResult]) -> list[MatchResult]:
    cells: dict[tuple[object, ...], MatchResult] = {}
    for one in results:
        terms = one.matchup
        place = (terms.victim, terms.attack, terms.informed, terms.defense, terms.knowledge, terms.pool, terms.budget)
        cells.setdefault(place, one)
    return list(cells.values())


def _clean_posteriors(results: Sequence[MatchResult], folder: Path) -> Mapping[tuple[str, int, bytes], Tensor]:
    """Return the victim's posteriors by victim, its seed, and the digest of a row."""
    found: dict[tuple[str, int, bytes], Tensor] = {}
    undefended = [one for one in results if one.matchup.is_undefended and one.matchup.decimals is None]
    for one in undefended[:REFERENCES]:
        transcript = _transcript(one, folder)
        if transcript is None:
            continue
        for inputs, posteriors in (
            (transcript.attack_inputs, transcript.attack_posteriors),
            (transcript.honest_inputs, transcript.honest_posteriors),
        ):
            if len(inputs):
                for digest, row in zip(row_digests(inputs), posteriors, strict=True):
                    found[label(one.matchup.victim), one.matchup.victim_seed, digest] = row
    return found


def _transcript(result: MatchResult, folder: Path) -> Transcript | None:
    path = folder / TRANSCRIPTS / f"{matchup_id(result.matchup)}-{result.attempt}.sqlite"
    try:
        return read_transcript(path) if path.exists() else None
    except (LedgerCorrupt, LedgerUnavailable, ValueError, TypeError):
        return None


def _examples(result: MatchResult, folder: Path, clean: Mapping[tuple[str, int, bytes], Tensor]) -> Examples:
    stored = [_stored(folder / PICTURES / Path(name).name) for name in result.pictures]
    images, left_out = (
        tuple(one.data for one in stored if one.data),
        " ".join(one.why_not for one in stored if one.why_not),
    )
    transcript = _transcript(result, folder)
    if transcript is None:
        reason = "There is no readable transcript of this match in the run folder."
        return Examples(images=images, why_not=f"{reason} {left_out}".rstrip())
    inputs = transcript.attack_inputs[:SHOWN_QUERIES]
    if not len(inputs):
        return Examples(images=images, why_not=f"The attack queried nothing. {left_out}".rstrip())
    answers = transcript.attack_posteriors[:SHOWN_QUERIES]
    refused = transcript.attack_refused[:SHOWN_QUERIES]
    maps = _maps(transcript)
    victim = (label(result.matchup.victim), result.matchup.victim_seed)
    queries = [
        Example(
            picture=picture_of(row),
            explanation=picture_of(maps[place]) if maps is not None and place < len(maps) else "",
            released=_numbers(answers[place]),
            clean=_numbers(clean[*victim, digest]) if (*victim, digest) in clean else (),
            refused=bool(refused[place]),
        )
        for place, (row, digest) in enumerate(zip(inputs, row_digests(inputs), strict=True))
    ]
    return Examples(queries=tuple(queries), images=images, why_not=left_out)


def _maps(transcript: Transcript) -> Tensor | None:
    """Return the explanations of the first call of the attack, (N, H, W), None if it asked for none."""
    first = next(iter(transcript.attack_calls), None)
    return None if first is None else first.answer.explanations


def _numbers(row: Tensor) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in row)


def picture_of(row: Tensor) -> str:
    """Return an input (C, H, W) or a map (H, W) as PNG in base64, scaled to its own range; empty if it is no image."""
    image = row[None] if row.dim() == 2 else row
    if image.dim() != 3 or image.shape[0] not in IMAGE_CHANNELS or not bool(torch.isfinite(image).all()):
        return ""
    low, high = (0.0, 1.0) if row.dim() == 3 else (float(image.min()), float(image.max()))
    scaled = ((image - low) / (high - low or 1.0)).clamp(0, 1).mul(255).to("cpu", torch.uint8)
    mode = IMAGE_CHANNELS[image.shape[0]]
    pixels = scaled[0].numpy() if mode == "L" else scaled.permute(1, 2, 0).contiguous().numpy()
    data = io.BytesIO()
    Image.fromarray(pixels, mode=mode).save(data, format="PNG", optimize=True)
    return base64.b64encode(data.getvalue()).decode()


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """A stored picture as PNG in base64, or why it is not shown."""

    data: str = ""
    why_not: str = ""


def _stored(path: Path) -> _Stored:
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= PICTURE_BYTES else b""
    except OSError:
        return _Stored(why_not=f"The picture {path.name} is missing in the run folder.")
    if size > PICTURE_BYTES:
        shown, most = (f"{number / 1_000:,.0f} kB" for number in (size, PICTURE_BYTES))
        return _Stored(why_not=f"The picture {path.name} has {shown}, and at most {most} fit here; see the run folder.")
    if not data.startswith(PNG_BEGINS):
        return _Stored(why_not=f"The picture {path.name} in the run folder is no PNG file.")
    return _Stored(data=base64.b64encode(data).decode())
