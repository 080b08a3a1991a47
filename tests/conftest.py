"""What tests of the game share: one cache of trained victims, and the smallest site, victim and matchup."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.data.datasets import FOLDER_VARIABLE
from arena.match.secret import SECRET_VARIABLE
from arena.match.site import CACHE_VARIABLE, Site


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which this test session keeps what it trains."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session", autouse=True)
def secret_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands of these tests make and read a secret of their own, not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SECRET_VARIABLE, str(tmp_path_factory.mktemp("settings") / "secret"))
        yield


@pytest.fixture
def site(tmp_path: Path, cache: Path) -> Site:
    """A site whose ledgers are the test's own."""
    return Site(work=tmp_path / "work", cache=cache)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """The variables that the command line reads: the session's cache, and no data folder."""
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
