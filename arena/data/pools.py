"""Pools from which attackers query, and outliers (out-of-distribution data) on which defenders train.

Both have a kind and a source. The kinds are ``same`` (the data set's own held-out part), ``near``, ``far``,
``universe`` (equal shares of the three) and ``none``. The sources of near and far are ``glyphs``, ``textures``,
``noise``, ``columns`` (for tables), or any data set by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import assert_never

import torch
from torch import Generator, Tensor

from arena.contracts import BadParameter, OutlierKind, PoolKind
from arena.data.dataset import Dataset
from arena.data.datasets import data_folder, load
from arena.data.glyphs import Part, glyphs
from arena.data.images import reshaped, to_levels
from arena.data.splits import Splits
from arena.data.table_files import TABLE
from arena.data.textures import noise, textures
from arena.learning.compact import LevelRows, rows_of
from arena.learning.randomness import generator
from arena.learning.tensors import row_digests

GENERATED_ROWS = 4_000
"""The default number of rows in a generated pool, and the number in a generated set of outliers."""

GENERATORS = ("glyphs", "textures", "noise", "columns")
_FAR_DATASETS = {"fashion-mnist": "mnist", "mnist": "fashion-mnist"}
_SOURCES: Mapping[str, tuple[str, ...]] = {"near": ("glyphs",), "far": ("textures", "noise")}
_TABLE_SOURCES: Mapping[str, tuple[str, ...]] = {"near": ("columns",), "far": ("noise",)}
"""The generators of each kind that fit any image or any table, the default one first."""
_OUTSIDE: tuple[PoolKind, ...] = ("near", "far")
_ROUNDS = 20  # how often rows that had to be left out are replaced by new draws
_FIXED_SEED = 0


def default_source(dataset: str, kind: PoolKind, *, table: bool = False) -> str:
    """Return the default source of a kind of pool; "" for ``same``, ``universe`` and ``none``, which have no choice."""
    return next(iter(_default_sources(dataset, kind, table=table)), "")


def outlier_source(
    kind: OutlierKind, source: str = "", *, splits: Splits, pool_kind: PoolKind, pool_source: str = ""
) -> str:
    """Return the source of a defense's outliers beside such a pool: ``source``, else the first that the pool lacks.

    It is "" for ``pool`` and ``none``, which have no choice. Raises `BadParameter` if the pool has every default one.
    """
    if kind not in ("near", "far"):
        if source:
            message = f"outliers = {kind!r} have no source to choose, but outlier_source = {source!r} was given"
            raise BadParameter(message)
        return ""
    if source:
        return source
    taken = sources(pool_kind, pool_source, splits=splits)
    candidates = _default_sources(splits.name, kind, table=len(splits.task.shape) == 1)
    free = [one for one in candidates if one not in taken]
    if not free:
        message = (
            f"outliers = {kind!r} of {splits.name} come from {' or '.join(candidates)}, and the pool of kind {pool_kind} "
            "comes from there too: a defense would train on what the attack queries. State another outlier_source, or "
            'outliers = "none" where the defense does without'
        )
        raise BadParameter(message)
    return free[0]


def _default_sources(dataset: str, kind: PoolKind | OutlierKind, *, table: bool) -> tuple[str, ...]:
    generated = (_TABLE_SOURCES if table else _SOURCES).get(kind, ())
    published = _FAR_DATASETS.get(dataset) if kind == "far" and not table else None
    return (published, *generated) if published else generated


def sources(kind: PoolKind | OutlierKind, source: str = "", *, splits: Splits) -> frozenset[str]:
    """Return the names of the sources of a pool or of outliers; that of ``same`` is the victim's data set."""
    table = len(splits.task.shape) == 1
    match kind:
        case "near" | "far":
            return frozenset({source or default_source(splits.name, kind, table=table)})
        case "universe":
            return frozenset({splits.name, *(default_source(splits.name, part, table=table) for part in _OUTSIDE)})
        case "same":
            return frozenset({splits.name})
        case "pool" | "none":
            return frozenset()
        case _:
            assert_never(kind)


def pool(
    kind: PoolKind,
    source: str = "",
    *,
    splits: Splits,
    seed: int,
    rows: int | None = None,
    folder: Path | None = None,
    part: Part = "pool",
) -> Tensor:
    """Return distinct unlabelled rows (M, *shape) float32 in [0, 1], compact if large, in an order that the seed determines.

    By default there are all available rows, or 4,000 generated ones. No row has the content of a test, training,
    validation or honest row. ``source`` "" means `default_source`. ``part`` "outliers" draws from sources that share
    nothing with those of "pool". Raises `BadParameter` for a source that does not fit, or for more rows than there are.
    """
    if source and kind not in ("near", "far"):
        message = f"a pool of kind {kind} has no source to choose, but {source!r} was given"
        raise BadParameter(message)
    source = source or default_source(splits.name, kind, table=len(splits.task.shape) == 1)
    rng = generator(seed, part, kind, source)
    match kind:
        case "none":
            return torch.empty(0, *splits.task.shape)
        case "same":
            found = _clean(splits.pool, splits)
        case "near" | "far":
            found = _drawn(source, splits, rows=rows, folder=folder, part=part, rng=rng)
        case "universe":
            found = _universe(splits, rows=rows, folder=folder, part=part, seed=seed)
        case _:
            assert_never(kind)
    if rows is not None and not 0 <= rows <= len(found):
        message = f"a {kind} pool of {splits.name} from {source or 'itself'} has {len(found):,} rows, not {rows:,}"
        raise BadParameter(message)
    return found[torch.randperm(len(found), generator=rng)[:rows]]


def outliers(
    kind: OutlierKind,
    *,
    splits: Splits,
    seed: int,
    pool_rows: Tensor,
    source: str = "",
    rows: int | None = None,
    folder: Path | None = None,
) -> Tensor | None:
    """Return the outliers on which a defense may train in addition to its data, or None for ``none``.

    ``pool_rows`` (M, *shape) is the attack's pool. Kind ``pool`` returns rows of it; near and far share none with it.
    """
    if kind == "none":
        return None
    if kind == "pool":
        return pool_rows[:rows]
    found = pool(kind, source, splits=splits, seed=seed, folder=folder, part="outliers")
    attacked = frozenset(row_digests(pool_rows))
    return _without(found, attacked)[:rows]


def _universe(splits: Splits, *, rows: int | None, folder: Path | None, part: Part, seed: int) -> Tensor:
    """Return equal shares of same, near and far; if ``rows`` is None, as many as the smallest of them allows."""
    kinds: tuple[PoolKind, ...] = ("same", *_OUTSIDE)
    shares = [None if rows is None else (rows + 2 - number) // 3 for number in range(3)]
    parts = [
        pool(kind, splits=splits, seed=seed, rows=share, folder=folder, part=part)
        for kind, share in zip(kinds, shares, strict=True)
    ]
    smallest = min(len(part_rows) for part_rows in parts)
    return _clean(torch.cat([part_rows[:smallest] if rows is None else part_rows for part_rows in parts]), splits)


def _drawn(source: str, splits: Splits, *, rows: int | None, folder: Path | None, part: Part, rng: Generator) -> Tensor:
    if source not in GENERATORS:
        return _of_dataset(source, splits, folder=folder, part=part)
    draw = _generator(source, splits, part=part, rng=rng)
    wanted = rows or GENERATED_ROWS
    found = _clean(draw(wanted), splits)
    for _ in range(_ROUNDS):  # small images and tables sometimes repeat rows
        if len(found) >= wanted:
            break
        found = _clean(torch.cat([found, draw(wanted)]), splits)
    return found[:wanted]


def _generator(source: str, splits: Splits, *, part: Part, rng: Generator) -> Callable[[int], Tensor]:
    """Return a function that draws so many rows; columns come from the pool, or for outliers from the training rows."""
    shape = splits.task.shape
    if source == "columns":
        own = splits.pool if part == "pool" else splits.training[0]
        return lambda rows: mixed_columns(own, rows, rng=rng)
    if source == "noise":
        return lambda rows: noise(rows, shape, rng=rng)
    if len(shape) != 3:
        message = f"{source} are images, but {splits.name} is a table; use columns or noise"
        raise BadParameter(message)
    make = glyphs if source == "glyphs" else textures
    return lambda rows: make(rows, shape, part=part, rng=rng)


def mixed_columns(own: Tensor, rows: int, *, rng: Generator) -> Tensor:
    """Return rows (rows, *shape) whose values each come from a random row of ``own``, so columns are independent."""
    flat = own.flatten(1)
    picked = torch.randint(len(flat), (rows, flat.shape[1]), generator=rng)
    return flat.gather(0, picked).reshape(rows, *own.shape[1:])


def _of_dataset(source: str, splits: Splits, *, folder: Path | None, part: Part) -> Tensor:
    """Return one half of another data set, in the victim's shape; pool and outliers get different halves."""
    if source == splits.name:
        message = f"{source} is the victim's own data set; the pool from it has kind same"
        raise BadParameter(message)
    if source.startswith(TABLE):
        message = (
            f"{source} is a table, and only images can be pools or outliers of another data set; use columns or noise"
        )
        raise BadParameter(message)
    other = _loaded(source, data_folder(folder))
    shape = splits.task.shape
    if len(other.shape) != 3 or len(shape) != 3:
        message = f"{source} {other.shape} cannot replace {splits.name} {shape}: only images can be reshaped"
        raise BadParameter(message)
    order = torch.randperm(len(other.labels), generator=generator(_FIXED_SEED, "halves", source))
    half = order.chunk(2)[0 if part == "pool" else 1]
    if other.stored.dtype == torch.uint8 and other.shape == shape:
        return _clean(other.rows(half), splits)
    levels = torch.empty(len(half), *shape, dtype=torch.uint8)
    for chosen, chunk in zip(half.split(GENERATED_ROWS), levels.split(GENERATED_ROWS), strict=True):
        stored = other.stored[chosen]
        chunk.copy_(reshaped(stored if stored.dtype == torch.uint8 else to_levels(stored), shape))
    return _clean(rows_of(LevelRows(levels)), splits)


@lru_cache(maxsize=2)
def _loaded(name: str, folder: Path) -> Dataset:
    return load(name, folder=folder)


def _clean(rows: Tensor, splits: Splits) -> Tensor:
    return _without(rows, splits.kept_from_attackers)


def _without(rows: Tensor, forbidden: frozenset[bytes]) -> Tensor:
    """Return the rows whose content is not forbidden, in order and without repetitions."""
    seen = set(forbidden)
    kept = []
    for row, digest in enumerate(row_digests(rows)):
        if digest not in seen:
            seen.add(digest)
            kept.append(row)
    return rows[kept]
