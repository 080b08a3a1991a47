"""Packed rows that arrive call by call, kept as they are: in memory while they are few, then in a temporary file."""

from __future__ import annotations

import itertools
import math
import os
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from arena.learning.compact import CompactRows, LevelRows, RowStore, rows_of
from arena.learning.tensors import Packed, unit

IN_MEMORY_BYTES = 2**25
"""A log with more bytes than this moves to a file, where the operating system's cache serves as its memory."""

_ROWS_AT_ONCE = 1024  # that are moved to another device
_WIDTHS = {"uint8": 1, "float32": 4}


class RowLog:
    """The rows of the calls of a match, in order; a `RowStore` whose rows come from the calls' own bytes.

    The file has no name, so that nothing is left of it when the process ends.
    """

    device = torch.device("cpu")

    def __init__(self, folder: Path | None = None) -> None:
        """``folder`` is where a long log is written, by default the system's folder for temporary files."""
        self._folder = folder
        self._memory: list[bytes] | None = []  # of each part, its bytes; None once they are in the file
        self._file = -1
        self._bytes = 0
        self._shape: tuple[int, ...] = ()
        self._firsts: list[int] = []  # of each part, the number of its first row
        self._offsets: list[int] = []  # of each part, where its bytes begin
        self._widths: list[int] = []  # of each part, the bytes of one value
        self._rows = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def __len__(self) -> int:
        return self._rows

    def append(self, packed: Packed) -> None:
        """Add rows (N, *shape); all have the same shape."""
        self._shape = packed.shape[1:]
        self._firsts.append(self._rows)
        self._offsets.append(self._bytes)
        self._widths.append(_WIDTHS[packed.dtype])
        self._rows += packed.shape[0]
        self._bytes += len(packed.data)
        if self._memory is not None and self._bytes <= IN_MEMORY_BYTES:
            self._memory.append(packed.data)
        else:
            self._write(packed.data)

    def tensor(self) -> Tensor:
        """Return all rows (N, *shape) float32, compact if they are large or in a file; of shape (0,) if there are none."""
        if not self._rows:
            return torch.empty(0)
        return rows_of(self) if self._memory is not None else CompactRows(self, torch.arange(self._rows))

    def read(self, rows: Tensor) -> Tensor:
        places = self._places(rows.numpy())
        found = np.empty((len(rows), math.prod(self._shape)), dtype=np.float32)
        for width in np.unique(places.widths):
            those = np.flatnonzero(places.widths == width)
            raw = np.empty((len(those), found.shape[1] * width), dtype=np.uint8)
            self._fill(raw, places.parts[those], places.offsets[those])
            if len(those) == len(rows):
                found = _values(raw, width)
            else:
                found[those] = _values(raw, width)
        return torch.from_numpy(found.reshape(len(rows), *self._shape))

    def moved(self, rows: Tensor, device: torch.device) -> Tensor:
        if set(self._widths) == {1}:
            levels = torch.empty(len(rows), *self._shape, dtype=torch.uint8, device=device)
            store: RowStore = LevelRows(levels)
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                part = rows[start : start + _ROWS_AT_ONCE]
                raw = np.empty((len(part), math.prod(self._shape)), dtype=np.uint8)
                places = self._places(part.numpy())
                self._fill(raw, places.parts, places.offsets)
                levels[start : start + len(part)] = torch.from_numpy(raw).reshape(len(part), *self._shape)
            return rows_of(store)
        return torch.cat([self.read(part).to(device) for part in rows.split(_ROWS_AT_ONCE)])

    def _places(self, rows: npt.NDArray[np.int64]) -> _Places:
        firsts, widths = np.asarray(self._firsts), np.asarray(self._widths)
        parts = np.searchsorted(firsts, rows, side="right") - 1
        of_rows = widths[parts]
        offsets = (rows - firsts[parts]) * of_rows * math.prod(self._shape)
        return _Places(parts=parts, offsets=offsets, widths=of_rows)

    def _fill(self, raw: npt.NDArray[np.uint8], parts: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]) -> None:
        """Read into each row of ``raw`` the bytes at its offset in its part; neighbours in a part are read together."""
        length = raw.shape[1]
        breaks = np.flatnonzero((np.diff(offsets) != length) | (np.diff(parts) != 0)) + 1
        for start, end in itertools.pairwise([0, *breaks.tolist(), len(offsets)]):
            if start < end:
                self._read_into(raw[start:end].reshape(-1), int(parts[start]), int(offsets[start]))

    def _read_into(self, buffer: npt.NDArray[np.uint8], part: int, offset: int) -> None:
        if self._memory is not None:
            buffer[:] = np.frombuffer(self._memory[part], dtype=np.uint8, count=len(buffer), offset=offset)
            return
        view, offset = memoryview(buffer.data), self._offsets[part] + offset
        while len(view):  # one system call reads 2 GB at most
            read = os.preadv(self._file, [view], offset)
            if not read:
                message = "the file of the match's rows is shorter than what was written to it"
                raise OSError(message)
            view, offset = view[read:], offset + read

    def _write(self, data: bytes) -> None:
        """Append to the file, which is created with what was in memory until now."""
        if self._memory is not None:
            descriptor, name = tempfile.mkstemp(prefix=".rows-", dir=self._folder)
            Path(name).unlink()
            weakref.finalize(self, os.close, descriptor)
            self._file, kept, self._memory = descriptor, self._memory, None
            for part in kept:
                self._write(part)
        view = memoryview(data)
        while len(view):
            view = view[os.write(self._file, view) :]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Places:
    """Where rows are in a log: each row's part, its offset in the part's bytes, and the bytes of one value."""

    parts: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    widths: npt.NDArray[np.int64]


def _values(raw: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.float32]:
    return unit(raw) if width == 1 else raw.view("<f4").astype(np.float32, copy=False)
