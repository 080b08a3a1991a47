from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from arena.contracts import QueryBatch
from arena.learning.tensors import row_digests
from arena.oracle.honest import LARGEST_LIGHT_CALL, LIGHT_ACCOUNTS, HonestTraffic, distinct_numbers

SPLIT = 30


def traffic(*, budget: int = 20, accounts: int = 1, seed: int = 0, rows: Tensor | None = None) -> HonestTraffic:
    """Rows are distinct images, and a row's label can be read off its brightest corner."""
    inputs = torch.rand(SPLIT, 1, 4, 4, generator=torch.Generator().manual_seed(1)) if rows is None else rows
    return HonestTraffic(inputs=inputs, labels=torch.arange(len(inputs)), budget=budget, accounts=accounts, seed=seed)


def by_account(calls: Sequence[QueryBatch]) -> dict[int, Tensor]:
    accounts: dict[int, list[Tensor]] = {}
    for call in calls:
        accounts.setdefault(call.account, []).append(call.inputs)
    return {account: torch.cat(rows) for account, rows in accounts.items()}


def test_one_heavy_account_mirrors_rows_and_call_sizes_of_the_attack():
    script = traffic()
    heavy = []
    for rows in (3, 7, 10):
        first, *light = script.after(rows)
        heavy.append(first)
        assert all(len(call.inputs) <= LARGEST_LIGHT_CALL for call in light)
    assert [len(call.inputs) for call in heavy] == [3, 7, 10]
    assert len({call.account for call in heavy}) == 1


@pytest.mark.parametrize("budget", [20, 97, 250])
def test_nine_light_accounts_share_half_the_budget_whatever_the_attack_does(budget: int):
    for rows in ([budget], [1] * budget, []):
        script = traffic(budget=budget)
        calls = [call for asked in rows for call in script.after(asked)] + script.rest()
        heavy = calls[0].account if rows else None
        light = by_account([call for call in calls if call.account != heavy])
        assert len(light) == LIGHT_ACCOUNTS
        assert sum(map(len, light.values())) == budget // 2
        shares = {len(inputs) for inputs in light.values()}
        assert max(shares) - min(shares) <= 1


def test_light_calls_come_due_as_the_budget_is_spent_and_each_comes_once():
    script = traffic(budget=100)
    early = script.after(1)[1:]
    everything = [*early, *script.after(99)[1:]]
    assert len(early) < len(everything)
    assert script.rest() == []


def test_light_accounts_that_run_out_of_rows_ask_through_the_whole_of_a_large_budget():
    budget = 100_000
    script = traffic(budget=budget)
    early, late = script.after(budget // 2)[1:], script.rest()  # the heavy account comes first
    assert sum(len(call.inputs) for call in early + late) == LIGHT_ACCOUNTS * SPLIT
    assert len(late) >= len(early) / 2


def test_every_row_is_one_of_the_split_and_none_repeats_within_an_account():
    natural = set(row_digests(traffic()._inputs))
    script = traffic(budget=10 * SPLIT)
    calls = script.after(7) + script.after(10 * SPLIT - 7) + script.rest()
    for inputs in by_account(calls).values():
        digests = row_digests(inputs)
        assert set(digests) <= natural
        assert len(set(digests)) == len(digests)
    assert max(len(inputs) for inputs in by_account(calls).values()) == SPLIT


def test_labels_are_those_of_the_rows():
    rows = torch.arange(SPLIT, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4) / SPLIT  # flat images
    script = traffic(budget=3 * SPLIT, rows=rows.clone())
    calls = [*script.after(2 * SPLIT + 5), *script.after(7), *script.rest()]
    read = torch.cat([(call.inputs[:, 0, 0, 0] * SPLIT).round().long() for call in calls])
    assert torch.equal(traffic(budget=3 * SPLIT, rows=rows.clone()).labels(calls), read)


def test_no_calls_have_no_labels():
    assert traffic().labels([]).tolist() == []


def test_the_seed_alone_decides_the_script():
    def told(seed: int) -> list[tuple[int, list[bytes]]]:
        script = traffic(seed=seed)
        return [
            (call.account, row_digests(call.inputs)) for call in [*script.after(9), *script.after(11), *script.rest()]
        ]

    assert told(4) == told(4)
    assert told(4) != told(5)


def test_accounts_are_opaque_numbers_fresh_in_each_match_and_never_shared():
    numbers = [traffic(accounts=3, seed=seed).account_numbers for seed in (0, 0, 1)]
    assert numbers[0] == numbers[1] != numbers[2]
    assert len(set(numbers[0])) == 3
    script = traffic(accounts=3)
    honest = {call.account for call in [*script.after(20), *script.rest()]}
    assert len(honest) == LIGHT_ACCOUNTS + 1
    assert not honest & set(script.account_numbers)


def test_numbers_are_drawn_without_repetition_until_none_is_left():
    draws = [distinct_numbers(3, below=3, rng=torch.Generator().manual_seed(seed)) for seed in range(50)]
    assert {tuple(sorted(draw)) for draw in draws} == {(0, 1, 2)}
    assert len({tuple(draw) for draw in draws}) == 6


@pytest.mark.parametrize(
    ("budget", "heavy", "light"),
    [
        (SPLIT, (SPLIT, SPLIT), (SPLIT // 2, SPLIT // 2)),
        (SPLIT + 1, (SPLIT, SPLIT + 1), (SPLIT // 2, SPLIT // 2)),
        (20 * SPLIT, (SPLIT, 20 * SPLIT), (LIGHT_ACCOUNTS * SPLIT, 10 * SPLIT)),
    ],
)
@pytest.mark.parametrize("shape", [(1, 4, 4), (3,)], ids=["images", "tables"])
def test_volumes_shrink_to_what_the_split_has_and_say_so(
    budget: int, heavy: tuple[int, int], light: tuple[int, int], shape: tuple[int, ...]
):
    rows = torch.rand(SPLIT, *shape, generator=torch.Generator().manual_seed(2))
    script = traffic(budget=budget, rows=rows)
    assert (script.volumes.heavy, script.volumes.light) == (heavy, light)
    assert script.volumes.fall_short is (budget > SPLIT)
    first, *rest = [*script.after(budget), *script.rest()]
    assert len(first.inputs) == heavy[0]
    assert sum(len(call.inputs) for call in rest) == light[0]
    assert script.after(1) == []


def test_the_images_of_recorded_calls_are_those_that_they_carry():
    rows = torch.arange(SPLIT, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4) / SPLIT  # flat images
    script = traffic(budget=SPLIT, rows=rows.clone())
    calls = [*script.after(SPLIT - 5), *script.after(5), *script.rest()]
    asked = torch.cat([(call.inputs[:, 0, 0, 0] * SPLIT).round().long() for call in calls])
    assert torch.equal(traffic(budget=SPLIT, rows=rows.clone()).images(calls), asked)
    assert traffic().images([]).tolist() == []
