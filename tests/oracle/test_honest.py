from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from arena.contracts import QueryBatch
from arena.learning.tensors import row_digests
from arena.oracle.honest import LARGEST_LIGHT_CALL, LIGHT_ACCOUNTS, SHIFTS, HonestTraffic, distinct_numbers, shifted

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
    assert sum(len(call.inputs) for call in early + late) == LIGHT_ACCOUNTS * SPLIT * len(SHIFTS)
    assert len(late) >= len(early) / 2


def test_no_row_repeats_within_an_account_even_when_the_split_is_asked_several_times():
    script = traffic(budget=SPLIT * len(SHIFTS))
    calls = script.after(SPLIT * len(SHIFTS)) + script.rest()
    for inputs in by_account(calls).values():
        assert len(set(row_digests(inputs))) == len(inputs)
    assert max(len(inputs) for inputs in by_account(calls).values()) == SPLIT * len(SHIFTS)


def test_a_shift_moves_whole_pixels_and_repeats_the_edge():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert shifted(image, 1, 0).flatten().tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5]
    assert shifted(image, 0, -1).flatten().tolist() == [1, 2, 2, 4, 5, 5, 7, 8, 8]
    assert torch.equal(shifted(image, 0, 0), image)


def test_labels_are_those_of_the_rows_shifted_or_not():
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


@pytest.mark.parametrize(("budget", "short"), [(SPLIT * 9, False), (SPLIT * 9 + 1, True)])
def test_says_whether_the_split_is_too_small_to_mirror_a_budget(budget: int, short: bool):
    script = traffic(budget=budget)
    assert script.falls_short is short
    assert len(script.after(budget)[0].inputs) == SPLIT * len(SHIFTS)
    assert script.after(1) == []


def test_table_rows_cannot_be_shifted_and_so_run_out_sooner():
    rows = torch.rand(SPLIT, 3, generator=torch.Generator().manual_seed(2))
    assert not traffic(budget=SPLIT, rows=rows).falls_short
    script = traffic(budget=SPLIT + 1, rows=rows)
    assert script.falls_short
    assert len(script.after(SPLIT + 1)[0].inputs) == SPLIT


def test_the_images_of_recorded_calls_are_those_that_they_carry():
    rows = torch.arange(SPLIT, dtype=torch.float32).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4) / SPLIT  # flat images
    script = traffic(budget=SPLIT, rows=rows.clone())
    calls = [*script.after(SPLIT - 5), *script.after(5), *script.rest()]
    asked = torch.cat([(call.inputs[:, 0, 0, 0] * SPLIT).round().long() for call in calls])
    assert torch.equal(traffic(budget=SPLIT, rows=rows.clone()).images(calls), asked)
    assert traffic().images([]).tolist() == []
