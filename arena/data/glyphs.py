"""Letters and symbols, rendered from the fonts that ship with matplotlib in the shape of any image victim.

Digits, and letters that look like digits (O, o, I, l), are left out. The two parts share neither fonts nor characters.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

import matplotlib
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from arena.data.images import to_levels, to_unit

Part = Literal["pool", "outliers"]
"""Two disjoint halves: what attackers query, and what defenders train on."""

CHARACTERS: dict[Part, str] = {
    "pool": "AaCcEeGgKkMmPpRrTtVvXxZαγεηλξπτψΓΛΠΨ&?+%<}=€§¶",
    "outliers": "BbDdFfHhJjLNnQqSsUuWwYyβδζθμρσφωΔΘΣΩ@#*$>{~∫√≠",
}
FONTS: dict[Part, tuple[str, ...]] = {
    # Computer Modern ships too, but its character map is not Unicode.
    "pool": tuple(
        f"{font}.ttf"
        for font in (
            *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
            *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
        )
    ),
    "outliers": tuple(
        f"{font}.ttf"
        for font in (
            *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
            *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
        )
    ),
}

ANGLE = 0.3  # radians, either way
SCALE = (0.75, 1.1)
SHIFT = 0.15  # of half the side, either way
INK, PAPER = (0.6, 1.0), (0.0, 0.4)  # per channel; grey images have black paper
_CELL = 48  # pixels per side of a rendered character, more than most victims have, so that sampling shrinks it
_FILLED = 0.8  # the share of the cell's side that a character fills


def glyphs(rows: int, shape: tuple[int, ...], *, part: Part, rng: Generator) -> Tensor:
    """Return images (rows, C, H, W) float32 in whole grey levels, each of one shifted, rotated and scaled character."""
    channels, height, width = shape
    atlas = to_unit(_atlas(part))
    chosen = atlas[torch.randint(len(atlas), (rows,), generator=rng)]
    angle = ANGLE * (2 * torch.rand(rows, generator=rng) - 1)
    zoom = 1 / (SCALE[0] + (SCALE[1] - SCALE[0]) * torch.rand(rows, generator=rng))
    shift = SHIFT * (2 * torch.rand(rows, 2, generator=rng) - 1)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).reshape(rows, 2, 2)
    placed = torch.cat([turn * zoom.reshape(-1, 1, 1), shift.unsqueeze(2)], dim=2)
    side = max(_CELL, height, width)
    grid = affine_grid(placed, [rows, 1, side, side], align_corners=False)
    turned = grid_sample(chosen, grid, align_corners=False)
    mask = interpolate(turned, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
    ink = _between(INK, torch.rand(rows, channels, 1, 1, generator=rng))
    paper = _between(PAPER, torch.rand(rows, channels, 1, 1, generator=rng)) if channels > 1 else torch.zeros(1)
    return to_unit(to_levels(mask * ink + (1 - mask) * paper))


@functools.cache
def _atlas(part: Part) -> Tensor:
    """Return every character in every font of a part, as (fonts * characters, 1, cell, cell) uint8."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return torch.stack([_character(folder / font, character) for font in FONTS[part] for character in CHARACTERS[part]])


def _character(font: Path, character: str) -> Tensor:
    """Return one character, white on black, centred in its cell and filling it."""
    face = _face(font)
    left, top, right, bottom = face.getbbox(character)
    drawn = Image.new("L", (round(right - left) + 2, round(bottom - top) + 2))
    ImageDraw.Draw(drawn).text((1 - left, 1 - top), character, fill=255, font=face)
    scale = _FILLED * _CELL / max(drawn.size)
    fitted = drawn.resize(
        (max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale))), Image.Resampling.BILINEAR
    )
    cell = Image.new("L", (_CELL, _CELL))
    cell.paste(fitted, ((_CELL - fitted.width) // 2, (_CELL - fitted.height) // 2))
    return torch.frombuffer(bytearray(cell.tobytes()), dtype=torch.uint8).reshape(1, _CELL, _CELL)


@functools.cache
def _face(font: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font), size=_CELL)


def _between(limits: tuple[float, float], share: Tensor) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * share
