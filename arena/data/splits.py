"""The one division of a data set into training, validation, honest traffic, same-distribution pool and test rows.

It depends only on the data set, never on a match seed, because victims are cached and figures compared across seeds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from arena.contracts import BadParameter, Task
from arena.data.dataset import Dataset
from arena.learning.randomness import generator
from arena.learning.tensors import row_digests

Labelled: TypeAlias = tuple[Tensor, Tensor]
"""Inputs (N, *shape) float32 in [0, 1] and labels (N,) int64."""

_HASHED_AT_ONCE = 1024  # rows; hashing converts levels to float32, which is four times their size
_FIXED_SEED = 0

SHOWN_CLASSES = 12  # in a note

_DIGITS = {"test": 400, "validation": 100, "honest": 400, "pool": 400, "training": 497}
"""The sizes for digits, and the shares for every data set that has no official test set."""

_HALF = {"validation": 1 / 30, "honest": 1 / 15}
"""Shares of the victim's half of an official training set: 1,000 and 2,000 of 30,000, leaving 27,000 for training."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Disjoint rows of one data set: no row of a split has the content of a row of another split."""

    name: str
    class_names: tuple[str, ...]
    training: Labelled
    validation: Labelled
    honest: Labelled
    pool: Tensor  # unlabelled: an attacker gets no labels
    test: Labelled
    notes: tuple[str, ...] = ()  # what a user should see about their own files before a run

    @property
    def task(self) -> Task:
        """What a player may know; the data set and its classes remain unnamed."""
        return Task(shape=tuple(self.pool.shape[1:]), classes=len(self.class_names))

    @cached_property
    def kept_from_attackers(self) -> frozenset[bytes]:
        """The digests of the test, training, validation and honest rows, which no pool may contain."""
        parts = (self.test, self.training, self.validation, self.honest)
        return frozenset(digest for inputs, _ in parts for digest in row_digests(inputs))


def split(
    dataset: Dataset,
    *,
    training: int | None = None,
    validation: int | None = None,
    honest: int | None = None,
    pool: int | None = None,
    test: int | None = None,
) -> Splits:
    """Return the splits, keeping one of several rows with equal content.

    Without an official test set, the shares are those of digits. Otherwise the test rows are the official ones, half of
    the other rows is the pool, and of the victim's half 1/30 is for validation and 1/15 for honest traffic. Tables are
    scaled to [0, 1] by the ranges of the training split, and clipped. Raises `BadParameter` if more rows are wanted
    than there are.
    """
    rng = generator(_FIXED_SEED, "splits", dataset.name)
    unique = _first_of_each(dataset)
    border = len(dataset.labels) - dataset.official_test
    unofficial, official = unique[unique < border], unique[unique >= border]
    unofficial, official = (
        unofficial[torch.randperm(len(unofficial), generator=rng)],
        official[torch.randperm(len(official), generator=rng)],
    )

    wanted = {"test": test, "validation": validation, "honest": honest, "pool": pool, "training": training}
    sizes = _default_sizes(len(unofficial), len(official)) | {
        part: rows for part, rows in wanted.items() if rows is not None
    }
    chosen: dict[str, Tensor] = {}
    if dataset.official_test:
        chosen |= _cut(official, {"test": sizes.pop("test")}, dataset.name)
    chosen |= _cut(unofficial, sizes, dataset.name)  # training last, so that its size affects no other split

    inputs = {part: dataset.rows(rows) for part, rows in chosen.items()}
    if len(dataset.shape) == 1:
        inputs = _scaled(inputs, by=inputs["training"])
    labelled = {part: (rows, dataset.labels[chosen[part]]) for part, rows in inputs.items()}
    return Splits(
        name=dataset.name,
        class_names=dataset.class_names,
        training=labelled["training"],
        validation=labelled["validation"],
        honest=labelled["honest"],
        pool=inputs["pool"],
        test=labelled["test"],
        notes=tuple(_notes(dataset, unique)),
    )


def _notes(dataset: Dataset, unique: Tensor) -> Iterator[str]:
    """Yield what a user should see about their own files: classes and sizes, and what was left out."""
    if not dataset.own:
        return
    kept = torch.bincount(dataset.labels[unique], minlength=len(dataset.class_names)).tolist()
    sizes = dict(zip(dataset.class_names, kept, strict=True))
    yield f"{len(sizes)} classes: {_sizes(sizes)}"
    yield from dataset.notes
    repeated = len(dataset.labels) - len(unique)
    if repeated:
        yield f"{repeated:,} of {len(dataset.labels):,} rows repeat another row and were left out"
    if gone := [name for name, size in sizes.items() if size == 0]:
        yield (
            f"no row is left of {', '.join(gone)}, because each of its rows repeats one of another class: the victim can "
            "learn nothing about it"
        )


def _sizes(sizes: Mapping[str, int]) -> str:
    """Return classes with their sizes; of many classes, the first ones and the smallest one."""
    shown = ", ".join(f"{name} {size:,}" for name, size in itertools.islice(sizes.items(), SHOWN_CLASSES))
    if len(sizes) <= SHOWN_CLASSES:
        return shown
    smallest = min(sizes, key=lambda name: sizes[name])
    return f"{shown}, ...; the smallest is {smallest} with {sizes[smallest]:,}"


def _first_of_each(dataset: Dataset) -> Tensor:
    """Return the indices of rows with distinct content; of equal rows, one in the official test is kept."""
    rows = len(dataset.labels)
    from_the_end = torch.arange(rows).roll(dataset.official_test)
    seen: dict[bytes, int] = {}
    for chosen in from_the_end.split(_HASHED_AT_ONCE):
        for digest, row in zip(row_digests(dataset.stored[chosen]), chosen.tolist(), strict=True):
            seen.setdefault(digest, row)
    return torch.tensor(sorted(seen.values()), dtype=torch.int64)


def _default_sizes(unofficial: int, official: int) -> dict[str, int]:
    """Return the number of rows of each split; training gets what the others leave."""
    if official:
        half = unofficial // 2
        sizes = {
            "test": official,
            **{part: max(1, int(half * share)) for part, share in _HALF.items()},
            "pool": unofficial - half,
        }
        return sizes | {"training": unofficial - sum(sizes.values()) + official}
    whole = sum(_DIGITS.values())
    sizes = {part: max(1, unofficial * share // whole) for part, share in _DIGITS.items() if part != "training"}
    return sizes | {"training": unofficial - sum(sizes.values())}


def _cut(rows: Tensor, sizes: dict[str, int], name: str) -> dict[str, Tensor]:
    for part, size in sizes.items():
        if size < 1:
            message = f"{name}: {part} = {size}, but every split needs at least one row"
            raise BadParameter(message)
    if sum(sizes.values()) > len(rows):
        wanted = " + ".join(f"{part} {size:,}" for part, size in sizes.items())
        message = f"{name}: {wanted} = {sum(sizes.values()):,} rows were requested, but there are {len(rows):,}"
        raise BadParameter(message)
    return dict(zip(sizes, rows[: sum(sizes.values())].split(list(sizes.values())), strict=True))


def _scaled(inputs: dict[str, Tensor], *, by: Tensor) -> dict[str, Tensor]:
    """Return table columns scaled to [0, 1] by the ranges of ``by`` and clipped; a constant column becomes 0."""
    low, high = by.amin(dim=0), by.amax(dim=0)
    span = torch.where(high > low, high - low, 1.0)
    return {part: ((rows - low) / span).clamp(0, 1) for part, rows in inputs.items()}
