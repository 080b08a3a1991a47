"""Rows that take one byte a value: tensors of float32 to whoever uses them, converted a batch at a time.

A million images of 3x32x32 take 12 GB as float32 and 3 GB as the levels k/255 that they are. `CompactRows` keeps the
levels, wherever a store has them, and is a float32 tensor all the same: choosing rows of it (an index, a mask, a slice,
a split) reads only these rows, and any other operation converts the whole.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from arena.learning.tensors import unit

PLAIN_BYTES = 2**26
"""Rows that take no more than this as float32 are an ordinary tensor: batches, and whole pools of small images."""


_ROWS_AT_ONCE = 1024  # when rows are iterated over


class RowStore(Protocol):
    """Rows by number, wherever they are kept; they are never changed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""

    @property
    def device(self) -> torch.device:
        """Where `read` returns rows."""

    def __len__(self) -> int: ...

    def read(self, rows: Tensor) -> Tensor:
        """Return the rows (M, *shape) float32 with these numbers (M,) int64."""

    def moved(self, rows: Tensor, device: torch.device) -> Tensor:
        """Return these rows as a tensor on another device, as levels there if the store has only levels."""


class LevelRows:
    """Rows (N, *shape) of uint8 levels in memory: level k is float32(k / 255)."""

    def __init__(self, levels: Tensor) -> None:
        self._levels = levels

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._levels.shape[1:])

    @property
    def device(self) -> torch.device:
        return self._levels.device

    def __len__(self) -> int:
        return len(self._levels)

    def read(self, rows: Tensor) -> Tensor:
        if self.device.type == "cpu":
            return torch.from_numpy(unit(self._levels[rows].numpy()))
        return looked_up(self._levels[rows])

    def moved(self, rows: Tensor, device: torch.device) -> Tensor:
        return rows_of(LevelRows(self._levels[rows].to(device)))


def looked_up(levels: Tensor) -> Tensor:
    """Return uint8 levels as float32(k / 255) by a table, because some devices do not divide as IEEE 754 says."""
    table = torch.from_numpy(unit(np.arange(256, dtype=np.uint8))).to(levels.device)
    return table[levels.long()]


def rows_of(store: RowStore, rows: Tensor | None = None) -> Tensor:
    """Return the rows (M, *shape) float32 of a store with these numbers, or all, as a plain tensor unless it is large.

    A large one is `CompactRows`, which can only be read.
    """
    chosen = torch.arange(len(store)) if rows is None else rows
    if 4 * len(chosen) * math.prod(store.shape) <= PLAIN_BYTES:
        return store.read(chosen)
    return CompactRows(store, chosen)


def at(rows: Tensor, places: Tensor) -> Tensor:
    """Return the rows at these places (M,) int64; of compact rows they are compact, however few they are."""
    return CompactRows(rows.store, rows.numbers[places]) if isinstance(rows, CompactRows) else rows[places]


class CompactRows(Tensor):
    """Rows (N, *shape) of a store as a float32 tensor that takes no memory of its own. It can only be read."""

    store: RowStore
    numbers: Tensor  # (N,) int64 on the CPU: the rows' numbers in the store

    def __new__(cls, store: RowStore, numbers: Tensor) -> CompactRows:
        shape = (len(numbers), *store.shape)
        made = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.float32, device=store.device)
        made.store, made.numbers = store, numbers
        return made

    def __init__(self, store: RowStore, numbers: Tensor) -> None: ...

    @property
    def plain(self) -> Tensor:
        """All rows as an ordinary tensor."""
        return self.store.read(self.numbers)

    def chosen(self, which: Tensor | slice) -> Tensor:
        """Return some of the rows, by their numbers, a mask or a slice."""
        return rows_of(self.store, self.numbers[which])

    def __iter__(self) -> Iterator[Tensor]:
        for part in self.numbers.split(_ROWS_AT_ONCE):
            yield from self.store.read(part)

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., object],
        types: Iterable[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Choose rows where an operation does no more than that, else give it the converted whole."""
        named = kwargs or {}
        rows = args[0] if args else None
        if isinstance(rows, CompactRows):
            if func in _ABOUT:
                with torch._C.DisableTorchFunctionSubclass():
                    return func(*args, **named)
            chosen = _CHOOSING[func](*args, **named) if func in _CHOOSING else None
            if chosen is not None:
                return chosen
            if _CHANGING.fullmatch(func.__name__):
                message = "these rows can only be read, because other matches share them; change a clone() of them"
                raise RuntimeError(message)
        return func(*tree_map_only(CompactRows, plain, args), **tree_map_only(CompactRows, plain, dict(named)))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch declares it as a static method
        cls,
        func: Callable[..., object],
        types: Iterable[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Give the converted whole to an operation that does not come from Python."""
        return func(*tree_map_only(CompactRows, plain, args), **tree_map_only(CompactRows, plain, dict(kwargs or {})))


def plain(rows: Tensor) -> Tensor:
    """Return rows as an ordinary tensor, converted if they are compact: for a batch that is used more than once."""
    return rows.plain if isinstance(rows, CompactRows) else rows


_Chosen: TypeAlias = Tensor | tuple[Tensor, ...] | None
"""What an operation that chooses rows returns; None if this one does more than that."""


def _itself(rows: CompactRows) -> _Chosen:
    return rows


def _indexed(rows: CompactRows, index: object) -> _Chosen:
    if isinstance(index, slice):
        return rows.chosen(index)
    if isinstance(index, int) and not isinstance(index, bool):
        return rows.chosen(rows.numbers[index].reshape(1).new_tensor([index % len(rows)]))[0]
    if isinstance(index, list | np.ndarray):
        index = torch.as_tensor(index)
    if isinstance(index, Tensor) and index.dim() == 1 and (len(index) or index.dtype == torch.int64):
        return rows.chosen(index.cpu())
    return None


def _selected(rows: CompactRows, dim: int, index: Tensor) -> _Chosen:
    return rows.chosen(index.cpu()) if dim == 0 else None


def _split(rows: CompactRows, sizes: int | Sequence[int], dim: int = 0) -> _Chosen:
    """Return parts that are read when they are used: all of them at once would be the whole."""
    if dim != 0:
        return None
    parts = rows.numbers.split(sizes if isinstance(sizes, int) else list(sizes))
    return tuple(CompactRows(rows.store, part) for part in parts)


def _chunk(rows: CompactRows, chunks: int, dim: int = 0) -> _Chosen:
    return tuple(CompactRows(rows.store, part) for part in rows.numbers.chunk(chunks)) if dim == 0 else None


def _contiguous(rows: CompactRows, memory_format: torch.memory_format = torch.contiguous_format) -> _Chosen:
    return rows if memory_format == torch.contiguous_format else None


def _moved(rows: CompactRows, *where: object, **options: object) -> _Chosen:
    """Return the rows on the device that ``where`` or an option names; None for any other conversion."""
    device, *more = [value for value in (*where, options.get("device")) if value not in (None, torch.float32)]
    other = options.get("dtype") not in (None, torch.float32) or options.get("copy") or "memory_format" in options
    if other or more or not isinstance(device, str | torch.device):
        return None
    wanted = torch.device(device)
    return rows if wanted.type == rows.device.type else rows.store.moved(rows.numbers, wanted)


def _on_the_cpu(rows: CompactRows) -> _Chosen:
    return _moved(rows, "cpu")


def _described(rows: CompactRows, *, tensor_contents: object = None) -> str:
    return f"CompactRows(shape={tuple(rows.shape)}, device={rows.device})"


_CHOOSING: Mapping[object, Callable[..., _Chosen | str]] = {
    Tensor.__getitem__: _indexed,
    Tensor.__repr__: _described,
    Tensor.chunk: _chunk,
    Tensor.contiguous: _contiguous,
    Tensor.cpu: _on_the_cpu,
    Tensor.detach: _itself,
    Tensor.float: _itself,
    Tensor.index_select: _selected,
    Tensor.split: _split,
    Tensor.to: _moved,
    torch.chunk: _chunk,
    torch.detach: _itself,
    torch.index_select: _selected,
    torch.split: _split,
}
"""The operations that choose rows of a tensor, only move it, or describe it."""

_ABOUT = frozenset(
    {
        Tensor.__len__,
        Tensor.dim,
        Tensor.is_contiguous,
        Tensor.is_floating_point,
        Tensor.numel,
        Tensor.size,
        *(
            inspect.getattr_static(Tensor, name).__get__
            for name in ("device", "dtype", "is_cuda", "ndim", "requires_grad", "shape")
        ),
    }
)
"""The questions about a tensor that need none of its values."""

_CHANGING = re.compile(r"(?!__)\w+(?<!_)_|__(i\w+|set|setitem|delete)__(?<!__index__)(?<!__int__)(?<!__invert__)")
"""The names of the operations that change a tensor in place: ``add_``, ``__iadd__``, ``__setitem__``."""
