from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.entries.loading import SandboxedEntries
from arena.registry import loader_in_use
from arena.sandbox.job import MIB, BoxLimits


@pytest.fixture
def sandboxed(cache: Path) -> Iterator[SandboxedEntries]:
    """Entries are played in a sandbox in this test."""
    loader = SandboxedEntries(cache=cache, limits=BoxLimits(memory_bytes=700 * MIB))
    with loader_in_use(loader):
        yield loader
