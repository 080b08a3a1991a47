from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from arena.metrics.two_sample import copies_p, near_copies, permutation_p, power, shared_part, typical

RUNS = 40


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def normal(rows: int, columns: int, seed: int, *, deviation: float = 1.0) -> Tensor:
    return deviation * torch.randn(rows, columns, generator=rng(seed))


def rejected(make: object, *, runs: int = RUNS) -> float:
    """The share of runs in which a test rejects at 5 %; ``make`` gives two sets for a seed."""
    found = [permutation_p(*make(seed), rng=rng(seed), permutations=99) for seed in range(runs)]  # type: ignore[operator]
    return sum(p <= 0.05 for p in found) / runs


class TestThePermutationTest:
    @pytest.mark.parametrize("rows", [20, 100])
    def test_keeps_its_error_rate(self, rows: int):
        assert rejected(lambda seed: (normal(rows, 32, seed), normal(rows, 32, 1000 + seed)), runs=100) <= 0.12

    def test_notices_another_spread_that_no_linear_classifier_sees(self):
        assert rejected(lambda seed: (normal(50, 32, seed), normal(50, 32, 1000 + seed, deviation=3.0))) == 1

    def test_notices_one_column_of_many(self):
        def one_apart(seed: int) -> tuple[Tensor, Tensor]:
            moved = normal(100, 32, 1000 + seed)
            moved[:, 0] += 1
            return normal(100, 32, seed), moved

        assert rejected(one_apart) >= 0.8

    def test_of_equal_rows_is_certain_of_nothing(self):
        same = torch.ones(30, 4)
        assert permutation_p(same, same, rng=rng()) == 1

    def test_is_that_of_the_seed(self):
        sets = normal(30, 4, 0), normal(30, 4, 1)
        assert permutation_p(*sets, rng=rng(3)) == permutation_p(*sets, rng=rng(3))


def test_power_grows_with_the_rows_and_is_stated_for_those_at_hand():
    rows = normal(200, 16, 0)
    few, many = (power(rows, first=size, second=size, rng=rng()) for size in (10, 100))
    assert few < 0.6 < 0.95 <= many


def test_the_shared_part_of_a_mixture_is_that_of_the_pool():
    pool, other = normal(100, 8, 0), 6 + normal(50, 8, 1)
    found = shared_part(torch.cat([normal(50, 8, 2), other]), pool)
    assert found[:50].double().mean() >= 0.7
    assert not found[50:].any()


def test_of_a_wider_distribution_around_the_pool_no_large_part_is_shared():
    pool, wide = normal(100, 8, 0), normal(100, 8, 1, deviation=3.0)
    assert shared_part(wide, pool).double().mean() <= 0.1


def test_typical_rows_are_all_but_the_edge():
    assert typical(normal(100, 8, 0)).double().mean() == pytest.approx(0.95, abs=0.01)


class TestNearCopies:
    def test_are_found_moved_by_a_pixel_and_with_a_little_noise(self):
        pool = torch.rand(60, 1, 8, 8, generator=rng(0))
        moved = pool[:20].roll((1, -1), dims=(2, 3))
        noisy = (pool[20:40] + 0.01 * torch.randn(20, 1, 8, 8, generator=rng(1))).clamp(0, 1)
        own = torch.rand(20, 1, 8, 8, generator=rng(2))
        found = near_copies(torch.cat([moved, noisy, own]), pool)
        assert found[:40].all()
        assert int(found[40:].sum()) <= 2

    def test_of_tables_are_rows_nearly_alike(self):
        pool = torch.rand(60, 5, generator=rng(0))
        assert near_copies(pool[:10] + 1e-4, pool).all()
        assert int(near_copies(torch.rand(50, 5, generator=rng(1)), pool).sum()) <= 5

    def test_rows_much_nearer_to_one_another_than_the_pool_are_no_copies(self):
        noise, flat = torch.rand(60, 1, 8, 8, generator=rng(0)), torch.full((60, 1, 8, 8), 0.5)
        flat += 0.01 * torch.rand(60, 1, 1, 1, generator=rng(1))
        assert not near_copies(flat, noise).any()

    def test_few_happen_by_chance_and_many_do_not(self):
        assert copies_p(0, 100) == 1
        assert copies_p(2, 100) > 0.2  # one in a hundred is the border
        assert copies_p(10, 100) < 1e-6
