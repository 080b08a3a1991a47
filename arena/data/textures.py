"""Textures and shapes, which no image victim has seen in training. The two parts share no family of pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from arena.data.glyphs import Part
from arena.data.images import to_levels, to_unit

FREQUENCIES = (1.0, 4.0)  # periods over the image
BLOB_SIDE = 4  # blobs are smoothed noise of this side
CORNERS = 5  # the largest number of corners of a polygon
RADII = (0.2, 0.7)  # of half the side
_SHARP = 24.0  # how steep an edge is: about one pixel at 28 x 28

_Draw = Callable[[int, int, int, Generator], Tensor]  # rows, height, width, rng -> (rows, H, W) in [0, 1]


def textures(rows: int, shape: tuple[int, ...], *, part: Part, rng: Generator) -> Tensor:
    """Return pictures (rows, C, H, W) float32 in whole grey levels, from all families of the part, in random order."""
    channels, height, width = shape
    families = FAMILIES[part]
    drawn = [draw(len(range(number, rows, len(families))), height, width, rng) for number, draw in enumerate(families)]
    pictures = torch.cat(drawn)[torch.randperm(rows, generator=rng)].unsqueeze(1)
    first, second = torch.rand(2, rows, channels, 1, 1, generator=rng)
    return to_unit(to_levels(pictures * first + (1 - pictures) * second))


def noise(rows: int, shape: tuple[int, ...], *, rng: Generator) -> Tensor:
    """Return rows (rows, *shape) float32 with every value uniform over the 256 grey levels."""
    return to_unit(torch.randint(256, (rows, *shape), generator=rng, dtype=torch.uint8))


def _gratings(rows: int, height: int, width: int, rng: Generator) -> Tensor:
    wave = _phase(rows, height, width, rng)
    return 0.5 + 0.5 * wave.sin()


def _blobs(rows: int, height: int, width: int, rng: Generator) -> Tensor:
    coarse = torch.rand(rows, 1, BLOB_SIDE, BLOB_SIDE, generator=rng)
    smooth = interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    return smooth.squeeze(1).clamp(0, 1)


def _rings(rows: int, height: int, width: int, rng: Generator) -> Tensor:
    x, y = _from_centre(rows, height, width, rng)
    outer = _uniform(rows, RADII, rng)
    inner = outer * torch.rand(rows, 1, 1, generator=rng)
    radius = (x**2 + y**2).sqrt()
    return torch.sigmoid(_SHARP * (outer - radius)) * torch.sigmoid(_SHARP * (radius - inner))


def _checkers(rows: int, height: int, width: int, rng: Generator) -> Tensor:
    one, other = _phase(rows, height, width, rng, turned=0.0), _phase(rows, height, width, rng, turned=math.pi / 2)
    return torch.sigmoid(_SHARP * one.sin() * other.sin())


def _gradients(rows: int, height: int, width: int, rng: Generator) -> Tensor:
    x, y = _plane(height, width)
    angle = 2 * math.pi * torch.rand(rows, 1, 1, generator=rng)
    return (0.5 + 0.5 * (x * angle.cos() + y * angle.sin())).clamp(0, 1)


def _polygons(rows: int, height: int, width: int, rng: Generator) -> Tensor:
    x, y = _from_centre(rows, height, width, rng)
    filled = torch.ones(rows, height, width)
    start = 2 * math.pi * torch.rand(rows, 1, 1, generator=rng)
    corners = torch.randint(3, CORNERS + 1, (rows, 1, 1), generator=rng)
    for side in range(CORNERS):  # a convex polygon is the intersection of half-planes
        normal = start + 2 * math.pi * side / corners
        inside = torch.sigmoid(_SHARP * (_uniform(rows, RADII, rng) - x * normal.cos() - y * normal.sin()))
        filled = torch.where(side < corners, filled * inside, filled)
    return filled


def _plane(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return pixel coordinates in [-1, 1]: x (1, 1, W), y (1, H, 1)."""
    x = (2 * torch.arange(width) + 1) / width - 1
    y = (2 * torch.arange(height) + 1) / height - 1
    return x.reshape(1, 1, -1), y.reshape(1, -1, 1)


def _from_centre(rows: int, height: int, width: int, rng: Generator) -> tuple[Tensor, Tensor]:
    x, y = _plane(height, width)
    centre = torch.rand(2, rows, 1, 1, generator=rng) - 0.5
    return x - centre[0], y - centre[1]


def _phase(rows: int, height: int, width: int, rng: Generator, *, turned: float | None = None) -> Tensor:
    """Return the phase (rows, H, W) of a plane wave along a random direction, or along ``turned`` radians."""
    x, y = _plane(height, width)
    random = 2 * math.pi * torch.rand(rows, 1, 1, generator=rng)
    angle = random if turned is None else torch.full_like(random, turned)
    frequency = _uniform(rows, FREQUENCIES, rng)
    shift = 2 * math.pi * torch.rand(rows, 1, 1, generator=rng)
    return math.pi * frequency * (x * angle.cos() + y * angle.sin()) + shift


def _uniform(rows: int, limits: tuple[float, float], rng: Generator) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * torch.rand(rows, 1, 1, generator=rng)


FAMILIES: dict[Part, tuple[_Draw, ...]] = {
    "pool": (_gratings, _blobs, _rings),
    "outliers": (_checkers, _gradients, _polygons),
}
