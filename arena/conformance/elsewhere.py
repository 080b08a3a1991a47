"""A second process with other hash seed and process number: what a player does there must be what it does here."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar

from arena.registry import EntryLoader, use_loader

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_HASH_SEED = "PYTHONHASHSEED"
_HASH_SEEDS = ("1", "2")  # one of them is not that of this process


class Elsewhere:
    """Calls functions in a process of its own, which starts at the first call and lasts as long as the context.

    Entries are described and built there by ``loader``; None: that process imports them.
    """

    def __init__(self, loader: EntryLoader | None = None) -> None:
        self._loader = loader

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, *error: object) -> None:
        if "_pool" in vars(self):
            self._pool.shutdown()

    def __call__(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Return what a picklable ``function`` returns there, and raise what it raises."""
        with _other_hash_seed():  # the process starts with the first task
            return self._pool.submit(function, *arguments, **named).result()

    @functools.cached_property
    def _pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=use_loader,
            initargs=(self._loader,),
        )


@contextlib.contextmanager
def _other_hash_seed() -> Iterator[None]:
    here = os.environ.get(_HASH_SEED)
    os.environ[_HASH_SEED] = next(seed for seed in _HASH_SEEDS if seed != here)
    try:
        yield
    finally:
        if here is None:
            del os.environ[_HASH_SEED]
        else:
            os.environ[_HASH_SEED] = here
