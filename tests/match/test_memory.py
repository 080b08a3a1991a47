"""A match keeps the rows that it is about as they are packed, and only once, whatever becomes of them on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from arena.contracts import Matchup
from arena.data.dataset import Dataset
from arena.learning import compact, row_log
from arena.learning.compact import CompactRows, rows_of
from arena.learning.row_log import RowLog
from arena.learning.tensors import pack
from arena.match.site import Site
from arena.match.victims import load_splits
from tests.players import MATCHUP, Matches, every_meeting, played

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "memory.py"
MB = 10**6
ROWS = 20_000
LIBRARIES = 300 * MB  # of what a match imports, and of all that does not grow with its rows


@pytest.mark.slow
def test_a_match_takes_little_more_than_its_packed_rows():
    program = [sys.executable, str(BENCHMARK), "--json", "--rows", str(ROWS)]
    cost = json.loads(subprocess.run(program, stdout=subprocess.PIPE, check=True).stdout)
    assert cost["packed"] == ROWS * 3 * 32 * 32
    assert cost["peak"] - cost["base"] <= 1.2 * cost["packed"] + LIBRARIES


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site at which only matches with large rows are played."""
    return Site(work=tmp_path_factory.mktemp("ledgers"), cache=tmp_path_factory.mktemp("cache"))


@contextmanager
def large_rows() -> Iterator[None]:
    """Keep the small rows of the tests as large ones are kept: compact, and in files."""

    def rows(dataset: Dataset, chosen: Tensor) -> Tensor:
        log = RowLog()
        log.append(pack(dataset.stored))
        return rows_of(log, chosen)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact, "PLAIN_BYTES", 64 * 4 * 64)  # 64 images: a batch
        patch.setattr(row_log, "IN_MEMORY_BYTES", 0)
        patch.setattr(Dataset, "rows", rows)
        load_splits.cache_clear()
        yield
    load_splits.cache_clear()


def test_rows_that_are_kept_as_large_ones_are_compact():
    plain = load_splits(MATCHUP.victim, None)
    with large_rows():
        splits = load_splits(MATCHUP.victim, None)
    assert all(isinstance(rows, CompactRows) for rows in (splits.pool, splits.training[0], splits.test[0]))
    assert type(plain.pool) is Tensor
    assert torch.equal(splits.pool, plain.pool)


@pytest.mark.parametrize(
    "matchup", every_meeting(), ids=lambda matchup: f"{matchup.attack.name}-{matchup.defense.name}"
)
def test_large_rows_play_the_same_match(site: Site, matches: Matches, matchup: Matchup):
    expected = matches.result(matchup)
    with large_rows():
        found = played(matchup, site)
    assert found.verdict == expected.verdict
    assert (found.transcript_digest, found.clone_digest) == (expected.transcript_digest, expected.clone_digest)
    assert found.counts == expected.counts
