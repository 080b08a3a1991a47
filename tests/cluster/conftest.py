"""One cluster for all tests of this folder: starting one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from arena.cluster.membership import Cluster, join


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    started = join(None)
    yield started
    started.leave()
