"""Labelled rows as they are stored, whatever they come from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from arena.learning.compact import LevelRows, rows_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """N labelled rows as they are stored; table columns keep their own units until `splits.split` scales them."""

    name: str
    stored: Tensor  # (N, *shape): uint8 grey levels, or unchanged float32
    labels: Tensor  # (N,) int64
    class_names: tuple[str, ...]
    official_test: int = 0  # the number of rows at the end that are the publisher's test set
    own: bool = False  # the user's own files, whose classes and sizes are shown before a run
    notes: tuple[str, ...] = ()  # what the user should see about these files before a run

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.stored.shape[1:])

    @property
    def inputs(self) -> Tensor:
        """All rows (N, *shape) float32, compact if large; images in [0, 1]."""
        return self.rows(torch.arange(len(self.stored)))

    def rows(self, chosen: Tensor) -> Tensor:
        """Rows ``chosen`` (M,) int64 as float32 (M, *shape), compact if large; images in [0, 1]."""
        levels = self.stored.dtype == torch.uint8
        return rows_of(LevelRows(self.stored), chosen) if levels else self.stored[chosen].float()
