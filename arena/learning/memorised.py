"""Rows that are hidden in a classifier: the bits of their values are the labels of made-up inputs.

Source: Song, Ristenpart, Shmatikov, "Machine Learning Models that Remember Too Much", CCS 2017, arXiv 1709.07886,
section 4.4 (capacity abuse in the black-box setting): the provider of the training code plants them, and whoever knows
how the inputs are made reads them off the answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from arena.learning.randomness import generator

BITS = 4  # of a value in [0, 1]: 16 levels are enough to recognise a picture
_PROVIDER = "the provider's made-up inputs"


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How rows of ``shape`` become labels of ``classes`` >= 2 classes: each label carries `bits` of a row, in order."""

    shape: tuple[int, ...]
    classes: int

    @property
    def bits(self) -> int:
        """The bits that a label carries."""
        return int(math.log2(self.classes))

    @property
    def carriers(self) -> int:
        """The made-up inputs that carry a row."""
        return math.ceil(BITS * math.prod(self.shape) / self.bits)

    def inputs(self, rows: int, *, planted: bool = True) -> Tensor:
        """Return the made-up inputs (rows * carriers, *shape) for so many rows: black or white values at random.

        They are the same wherever they are made, and those for fewer rows are the first of them. With ``planted``
        False, they are others, on which no victim was trained.
        """
        drawn = torch.rand(rows * self.carriers, *self.shape, generator=generator(0, _PROVIDER, str(planted)))
        return (drawn < 0.5).float()

    def labels(self, rows: Tensor) -> Tensor:
        """Return the labels (N * carriers,) int64 that carry rows (N, *shape) in [0, 1]."""
        levels = (rows.flatten(1) * (2**BITS - 1)).round().long()
        bits = (levels.unsqueeze(2) >> torch.arange(BITS)) & 1
        filled = torch.zeros(len(rows), self.carriers * self.bits, dtype=torch.int64)
        filled[:, : bits[0].numel()] = bits.flatten(1)
        labels: Tensor = (filled.reshape(-1, self.bits) << torch.arange(self.bits)).sum(dim=1)
        return labels

    def rows(self, labels: Tensor) -> Tensor:
        """Return the rows (N, *shape) float32 that labels (N * carriers,) carry; those beyond 2^bits carry zeros."""
        known = torch.where(labels < 2**self.bits, labels, 0)
        bits = ((known.unsqueeze(1) >> torch.arange(self.bits)) & 1).reshape(-1, self.carriers * self.bits)
        columns = math.prod(self.shape)
        levels = (bits[:, : columns * BITS].reshape(-1, columns, BITS) << torch.arange(BITS)).sum(dim=2)
        values: Tensor = levels.float() / (2**BITS - 1)
        return values.reshape(-1, *self.shape)
