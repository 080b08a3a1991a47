"""One cluster for all tests of this folder: starting one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.cluster.membership import Cluster, join


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    started = join(None)
    yield started
    started.leave()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Victims are trained once for all tests."""
    return tmp_path_factory.mktemp("cache")
