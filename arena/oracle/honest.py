"""Honest traffic: what ordinary users ask of the same deployed defense while an attack plays.

The script is determined by the match seed. One heavy account mirrors the rows and call sizes of the attack, so that
volume and pace alone betray nobody; nine light accounts share half a budget in small calls. No row repeats within an
account: one that runs out of rows goes on with rows shifted by a pixel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from arena.contracts import QueryBatch
from arena.learning.randomness import generator
from arena.oracle.terms import REQUEST_ID_BYTES

LIGHT_ACCOUNTS = 9
LIGHT_SHARE = 0.5  # of the budget, over all light accounts
LARGEST_LIGHT_CALL = 8
ACCOUNT_NUMBERS = 2**20
SHIFTS = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))


@dataclass(frozen=True, kw_only=True)
class LightCall:
    """A call of a light account that is due once the attack has been charged ``after`` rows."""

    after: int
    light: int  # 0 .. LIGHT_ACCOUNTS - 1
    rows: int


class HonestScript(Protocol):
    """What ordinary users send during a match, determined by the match seed; one object plays one match once.

    The batches carry the account numbers that the defense sees, and follow from the rows of the attack's calls alone:
    a fresh script that is told the same rows gives the same traffic, so that a match can be rebuilt.
    """

    def after(self, rows: int) -> Sequence[QueryBatch]:
        """The calls that stand right after an attack call of ``rows`` rows."""

    def rest(self) -> Sequence[QueryBatch]:
        """The calls that are left when the attack is over; asked once."""


class HonestTraffic:
    """The script of one match; `after` and `rest` hand out its calls in order, once each."""

    def __init__(self, *, inputs: Tensor, labels: Tensor, budget: int, accounts: int, seed: int) -> None:
        """``inputs`` (R, *shape) and ``labels`` (R,) are the honest split; ``accounts`` counts the attack's own."""
        rng = generator(seed, "honest")
        self._inputs, self._labels = inputs, labels
        self._orders = [torch.randperm(len(inputs), generator=rng) for _ in range(LIGHT_ACCOUNTS + 1)]
        self._budget = budget
        self._light = _light_calls(int(budget * LIGHT_SHARE), budget, self._capacity, rng)
        self._asked = [0] * (LIGHT_ACCOUNTS + 1)  # rows so far; the heavy account is the last
        self._played = 0  # light calls
        self._attacked = 0  # rows
        self._numbers = distinct_numbers(
            accounts + LIGHT_ACCOUNTS + 1, below=ACCOUNT_NUMBERS, rng=generator(seed, "accounts")
        )
        self._accounts = accounts

    @property
    def account_numbers(self) -> list[int]:
        """The opaque number of each of the attack's accounts: all that a defense sees of it."""
        return self._numbers[: self._accounts]

    @property
    def falls_short(self) -> bool:
        """Whether the honest split has too few rows for the heavy account to mirror a whole budget."""
        return self._budget > self._capacity

    def after(self, rows: int) -> list[QueryBatch]:
        """Return what follows an attack call of ``rows`` rows: the heavy account's mirror of it, then light calls."""
        self._attacked += rows
        calls = self._take(LIGHT_ACCOUNTS, rows)
        while self._played < len(self._light) and self._light[self._played].after <= self._attacked:
            calls += self._next_light()
        return calls

    def rest(self) -> list[QueryBatch]:
        """Return what is left of the light accounts' calls, before the oracle closes."""
        calls: list[QueryBatch] = []
        while self._played < len(self._light):
            calls += self._next_light()
        return calls

    def labels(self, calls: Sequence[QueryBatch]) -> Tensor:
        """Return the labels (rows,) of recorded honest calls, in their order."""
        return self._labels[self.images(calls)]

    def images(self, calls: Sequence[QueryBatch]) -> Tensor:
        """Return which rows of the honest split (rows,) int64 recorded honest calls asked, in their order."""
        position: dict[int, int] = {}
        found = []
        numbers = self._numbers[self._accounts :]
        for call in calls:
            start = position.get(call.account, 0)
            position[call.account] = start + len(call.inputs)
            order = self._orders[numbers.index(call.account)]
            found.append(order[torch.arange(start, position[call.account]) % len(order)])
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)

    @property
    def _capacity(self) -> int:
        shiftable = self._inputs.dim() == 4
        return len(self._inputs) * (len(SHIFTS) if shiftable else 1)

    def _next_light(self) -> list[QueryBatch]:
        call = self._light[self._played]
        self._played += 1
        return self._take(call.light, call.rows)

    def _take(self, account: int, rows: int) -> list[QueryBatch]:
        start = self._asked[account]
        stop = min(start + rows, self._capacity)
        self._asked[account] = stop
        if stop == start:
            return []
        place = torch.arange(start, stop)
        total = len(self._inputs)
        chosen = self._inputs[self._orders[account][place % total]]
        if chosen.dim() == 4:
            passes = place // total
            for shift in passes.unique().tolist():
                moved = passes == shift
                chosen[moved] = shifted(chosen[moved], *SHIFTS[shift])
        return [QueryBatch(inputs=chosen, account=self._numbers[self._accounts + account])]


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """Return images (N, C, H, W) moved by whole pixels, the edge repeated: a new row with the same label."""
    height, width = images.shape[-2:]
    rows = (torch.arange(height) - down).clamp(0, height - 1)
    columns = (torch.arange(width) - right).clamp(0, width - 1)
    return images[..., rows, :][..., columns]


def distinct_numbers(count: int, *, below: int, rng: torch.Generator) -> list[int]:
    """Return different numbers in [0, below): the beginning of a shuffled range, of which only that much is shuffled."""
    moved: dict[int, int] = {}
    drawn = []
    for place in range(count):
        other = place + int(torch.randint(below - place, (1,), generator=rng))
        drawn.append(moved.get(other, other))
        moved[other] = moved.get(place, place)
    return drawn


def _light_calls(rows: int, budget: int, most: int, rng: torch.Generator) -> list[LightCall]:
    """Share ``rows`` over the light accounts, at most ``most`` for each, in calls of 1 to 8 at uniform places."""
    calls = []
    for light in range(LIGHT_ACCOUNTS):
        left = min(rows * (light + 1) // LIGHT_ACCOUNTS - rows * light // LIGHT_ACCOUNTS, most)
        while left > 0:
            size = min(left, int(torch.randint(1, LARGEST_LIGHT_CALL + 1, (1,), generator=rng)))
            after = int(torch.randint(1, budget + 1, (1,), generator=rng))
            calls.append(LightCall(after=after, light=light, rows=size))
            left -= size
    return sorted(calls, key=lambda call: (call.after, call.light))


class HonestQueue:
    """The honest calls of a script, in order; numbered, so that a repeated one is known to the ledger."""

    def __init__(self, script: HonestScript | None) -> None:
        self._script = script
        self._finished = False
        self._number = 0
        self.waiting: deque[QueryBatch] = deque()

    @property
    def due(self) -> QueryBatch | None:
        return self.waiting[0] if self.waiting else None

    @property
    def request_id(self) -> bytes:
        return self._number.to_bytes(REQUEST_ID_BYTES, "little")

    def answered(self) -> None:
        self.waiting.popleft()
        self._number += 1

    def follow(self, rows: int) -> None:
        if self._script is not None:
            self.waiting.extend(self._script.after(rows))

    def finish(self) -> None:
        if self._script is not None and not self._finished:
            self.waiting.extend(self._script.rest())
        self._finished = True
