"""What tests of the game share: one cache of trained victims, and the smallest site, victim and matchup."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.data.datasets import FOLDER_VARIABLE
from arena.match.cache import Cache
from arena.match.secret import SECRET_VARIABLE
from arena.match.site import CACHE_VARIABLE, Site
from tests.players import Matches

CLUSTER, SLURM = "tests/cluster/", "tests/deploy/test_slurm.py"
NICENESS = 19  # of processes without a cluster: those of Ray have 15, and the tests of the cluster take the longest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where pytest-xdist has several processes, let those that have no tests of the cluster give way to the one that has."""
    if "PYTEST_XDIST_WORKER" in os.environ and not item.nodeid.startswith(CLUSTER):
        os.nice(NICENESS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Where pytest-xdist has several processes, tests that share a cluster, or the ports of a node, are in one of them."""
    from xdist.scheduler import LoadScopeScheduling

    class OneCluster(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((shared for shared in (CLUSTER, SLURM) if nodeid.startswith(shared)), nodeid)

    return OneCluster(config, log)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test run: of all its processes, where pytest-xdist has several."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def cache(shared: Path) -> Path:
    """A folder in which this test run keeps what it trains."""
    return shared / "cache"


@pytest.fixture(scope="session")
def matches(shared: Path, cache: Path) -> Matches:
    """The matches that several tests look at; whoever changes one of their players plays for itself."""
    return Matches(site=Site(work=shared / "ledgers", cache=cache), results=Cache(folder=shared / "results"))


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
