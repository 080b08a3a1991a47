"""Outliers that give away the attack's pool are flagged, others are not, and too few rows are said to be too few."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from arena.contracts import Spec
from arena.contracts.flags import LEAK, LEAK_NOT_CHECKED
from arena.data import pools
from arena.match.leak_audit import LeakAudit, audit_leak
from arena.match.site import Site
from arena.match.victims import load_splits, load_victim

DIGITS = Spec(name="digits", params=(("arch", "mlp"), ("steps", 100)))
WINE = Spec(name="wine", params=(("arch", "linear"), ("steps", 50)))


@pytest.fixture
def pool() -> Tensor:
    return load_splits(DIGITS, None).pool


@pytest.fixture
def textures() -> Tensor:
    return pools.pool("far", "textures", splits=load_splits(DIGITS, None), seed=0, rows=400)


def audited(outliers: Tensor, pool: Tensor, site: Site, *, declared: bool = False, victim: Spec = DIGITS) -> LeakAudit:
    return audit_leak(load_victim(victim, 0, site), outliers, pool, declared_overlap=declared)


def test_one_shared_row_is_a_leak(site: Site):
    noise, pool = torch.rand(60, 1, 8, 8), load_splits(DIGITS, None).pool[:60]
    assert audited(noise, pool, site).flags == ()
    assert audited(torch.cat([noise, pool[:1]]), pool, site).flags == (LEAK,)


@pytest.mark.parametrize("rows", [20, 50, 100, 200])
def test_rows_of_the_pools_own_distribution_are_found_or_said_not_to_be_checked(rows: int, pool: Tensor, site: Site):
    flags = [
        audited(order[:rows], order[200 : 200 + rows], site).flags
        for order in (pool[torch.randperm(len(pool), generator=Generator().manual_seed(seed))] for seed in range(6))
    ]
    assert flags.count(()) <= 1  # an error rate of 5 %
    assert flags.count((LEAK,)) >= 5 or rows == 20


def test_other_rows_are_cleared(pool: Tensor, textures: Tensor, site: Site):
    for rows in (50, 200):
        found = audited(textures[:rows], pool[:rows], site)
        assert (found.leaks, found.checked) == (False, True)


@pytest.mark.parametrize("rows", [100, 200])
def test_a_mixture_of_half_the_pools_rows_is_found(rows: int, pool: Tensor, textures: Tensor, site: Site):
    half = rows // 2
    mixture = torch.cat([pool[:half], textures[:half]])
    found = audited(mixture, pool[200 : 200 + rows], site)
    assert found.leaks
    assert 0.3 <= found.measures["audit/part"] <= 0.6
    assert found.measures["audit/p"] <= 0.05  # as a whole it differs


def test_the_pool_moved_by_a_pixel_is_found(pool: Tensor, site: Site):
    moved = pool[:200].roll(1, dims=3)
    found = audited(moved, pool[:200], site)
    assert found.leaks
    assert found.measures["audit/copies"] > 150


def test_tables_are_compared_by_their_columns(site: Site):
    rows = load_splits(WINE, None)
    pool, same = rows.pool, rows.training[0][: len(rows.pool)]
    assert len(pool) >= 20
    strange = torch.rand(len(pool), *rows.task.shape, generator=Generator().manual_seed(0))
    assert audited(strange, pool, site, victim=WINE).leaks is False
    assert audited(same, pool, site, victim=WINE).flags != ()


def test_too_few_rows_are_not_checked_and_that_is_said(pool: Tensor, textures: Tensor, site: Site):
    few = audited(textures[:50], pool[:9], site)
    assert (few.leaks, few.checked, few.flags) == (False, False, (LEAK_NOT_CHECKED,))
    assert "audit/p" not in few.measures
    weak = audited(textures[:20], pool[:20], site)
    assert weak.checked is (weak.measures["audit/power"] >= 0.8)


def test_without_a_pool_only_a_declaration_can_leak(site: Site):
    nothing = torch.empty(0, 1, 8, 8)
    assert audited(torch.rand(9, 1, 8, 8), nothing, site).leaks is False
    assert audited(nothing, nothing, site, declared=True).flags == (LEAK,)


def test_rows_are_audited_on_a_copy_of_a_victim_that_others_ask_meanwhile(site: Site):
    victim = load_victim(DIGITS, 0, site)
    assert victim.module is not None
    called: list[object] = []
    hook = victim.module.register_forward_pre_hook(lambda module, _: called.append(module))
    try:
        audit_leak(victim, torch.rand(60, 1, 8, 8), torch.rand(60, 1, 8, 8), declared_overlap=False)
    finally:
        hook.remove()
    assert called
    assert not any(module is victim.module for module in called)
