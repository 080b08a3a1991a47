"""The rows of a match: the attack's pool, the defense's outliers and the queries of honest users, and their digests."""

from __future__ import annotations

import functools
from pathlib import Path

from torch import Tensor

from arena.contracts import Knowledge, Matchup, PoolKind, Spec
from arena.data import pools
from arena.learning.tensors import digest_of
from arena.match.site import Site
from arena.match.victims import load_splits
from arena.oracle.honest import HonestTraffic

OUTLIER_ROWS = 1_000
POOL_SEED = 0  # all matches of a victim share one pool; seeds differ in the rows that an attack draws from it


def honest_traffic(matchup: Matchup, site: Site) -> HonestTraffic:
    """Return a fresh script of a matchup's honest traffic."""
    inputs, labels = load_splits(matchup.victim, site.data).honest
    return HonestTraffic(
        inputs=inputs,
        labels=labels,
        budget=matchup.budget,
        accounts=matchup.accounts,
        seed=matchup.seed,
        secret=site.secret.value,
    )


@functools.lru_cache(maxsize=8)
def load_pool(victim: Spec, kind: PoolKind, source: str, site: Site) -> Tensor:
    """Return the rows that an attack may query, (M, *shape); M = 0 for ``none``."""
    return pools.pool(kind, source, splits=load_splits(victim, site.data), seed=POOL_SEED, folder=site.data)


@functools.lru_cache(maxsize=8)
def load_outliers(victim: Spec, knowledge: Knowledge, pool: PoolKind, pool_source: str, site: Site) -> Tensor:
    """Return the out-of-distribution rows (N, *shape) that a defense is given if the attack has this pool."""
    splits = load_splits(victim, site.data)
    kind, named = knowledge.outliers, knowledge.outlier_source
    rows = pools.outliers(
        kind,
        source=pools.outlier_source(kind, named, splits=splits, pool_kind=pool, pool_source=pool_source),
        splits=splits,
        seed=POOL_SEED,
        pool_rows=load_pool(victim, pool, pool_source, site),
        rows=OUTLIER_ROWS,
        folder=site.data,
    )
    assert rows is not None, "every kind of outliers except none has rows"
    return rows


def outlier_source_of(matchup: Matchup, site: Site) -> str:
    """Return the source of the outliers that a matchup's defense is given. Raises `BadParameter` if there is none."""
    return pools.outlier_source(
        matchup.knowledge.outliers,
        matchup.knowledge.outlier_source,
        splits=load_splits(matchup.victim, site.data),
        pool_kind=matchup.pool,
        pool_source=matchup.pool_source,
    )


def pool_digest(matchup: Matchup, site: Site) -> str:
    """Return the digest of the rows, in order, that a matchup's attack may query."""
    return _pool_digest(matchup.victim, matchup.pool, matchup.pool_source, site.data)


def outliers_digest(matchup: Matchup, site: Site) -> str:
    """Return the digest of the out-of-distribution rows that a matchup's defense is given."""
    return _outliers_digest(matchup.victim, matchup.knowledge, matchup.pool, matchup.pool_source, site.data)


@functools.lru_cache(maxsize=64)
def _pool_digest(victim: Spec, kind: PoolKind, source: str, data: Path | None) -> str:
    return digest_of([load_pool(victim, kind, source, Site(work=Path(), data=data))])


@functools.lru_cache(maxsize=64)
def _outliers_digest(victim: Spec, knowledge: Knowledge, pool: PoolKind, source: str, data: Path | None) -> str:
    return digest_of([load_outliers(victim, knowledge, pool, source, Site(work=Path(), data=data))])
