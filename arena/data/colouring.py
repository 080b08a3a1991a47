"""Colours for grey pictures: an ink and a paper for each, so that a colour victim needs no download."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from arena.data.images import to_levels
from arena.learning.randomness import generator

SIDE = 16  # pixels; digits of 8 x 8 are enlarged
LEAST_CONTRAST = 0.25  # by how much each channel of the ink is lighter than the paper at least
_FIXED_SEED = 0


def coloured(pictures: Tensor, *, name: str) -> Tensor:
    """Return grey pictures (N, 1, h, w) in [0, 1] as uint8 (N, 3, 16, 16), each in a light ink on a darker paper.

    The colours depend only on ``name`` and on a picture's place. Those of a picture say nothing about its class.
    """
    rng = generator(_FIXED_SEED, "colours", name)
    shape = interpolate(pictures, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    paper, more = 0.5 * torch.rand(2, len(pictures), 3, 1, 1, generator=rng)
    ink = paper + LEAST_CONTRAST + (0.5 - LEAST_CONTRAST) * 2 * more
    return to_levels(paper + shape * (ink - paper))
