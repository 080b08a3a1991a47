"""Honest traffic: what ordinary users query from the same deployed defense while an attack plays.

The match seed and a secret determine the script. One heavy account mirrors the rows and call sizes of the attack, so
that volume and pace alone do not reveal an attacker; nine light accounts share half a budget in small calls. Every row
is a natural row of the honest split, and no account queries a row twice. If the split has fewer rows than an account
should query, that account queries fewer, and `HonestTraffic.volumes` says how many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from arena.contracts import Count, QueryBatch
from arena.learning.randomness import generator
from arena.oracle.terms import REQUEST_ID_BYTES

LIGHT_ACCOUNTS = 9
LIGHT_SHARE = 0.5  # of the budget, over all light accounts
LARGEST_LIGHT_CALL = 8
ACCOUNT_NUMBERS = 2**20


@dataclass(frozen=True, kw_only=True)
class LightCall:
    """A call of a light account that is due once the attack has been charged ``after`` rows."""

    after: int
    light: int  # 0 .. LIGHT_ACCOUNTS - 1
    rows: int


class HonestScript(Protocol):
    """What ordinary users send during a match, determined by the match seed. An object serves one match, once.

    The batches carry the account numbers that the defense sees, and depend only on the sizes of the attack's calls: a
    fresh script that is given the same sizes gives the same traffic, so that a match can be rebuilt.
    """

    def after(self, rows: int) -> Sequence[QueryBatch]:
        """Return the calls that come right after an attack call of ``rows`` rows."""

    def rest(self) -> Sequence[QueryBatch]:
        """Return the calls that are left when the attack is over; called once."""


@dataclass(frozen=True, kw_only=True)
class Volumes:
    """How many rows the honest accounts query over a whole match, out of how many the rules ask for."""

    heavy: Count  # the rules ask for as many rows as the budget
    light: Count  # all light accounts together; the rules ask for half the budget

    @property
    def fall_short(self) -> bool:
        """Whether the honest split has too few rows for what the rules ask for."""
        return self.heavy.hits < self.heavy.total or self.light.hits < self.light.total


class HonestTraffic:
    """The script of one match; `after` and `rest` return its calls in order, each once."""

    def __init__(
        self, *, inputs: Tensor, labels: Tensor, budget: int, accounts: int, seed: int, secret: bytes = b""
    ) -> None:
        """``inputs`` (R, *shape) and ``labels`` (R,) are the honest split; the attack has ``accounts`` accounts.

        ``secret`` prevents a player that knows the seed from predicting calls and account numbers.
        """
        rng = generator(seed, "honest", secret=secret)
        self._inputs, self._labels = inputs, labels
        self._orders = [torch.randperm(len(inputs), generator=rng) for _ in range(LIGHT_ACCOUNTS + 1)]
        self._budget = budget
        self._light = _light_calls(int(budget * LIGHT_SHARE), budget, len(inputs), rng)
        self._queried = [0] * (LIGHT_ACCOUNTS + 1)  # rows that each account has queried; the heavy account is the last
        self._played = 0  # light calls so far
        self._attacked = 0  # rows that the attack has queried
        self._numbers = distinct_numbers(
            accounts + LIGHT_ACCOUNTS + 1, below=ACCOUNT_NUMBERS, rng=generator(seed, "accounts", secret=secret)
        )
        self._accounts = accounts

    @property
    def account_numbers(self) -> list[int]:
        """The opaque number of each of the attack's accounts, which is all that a defense sees of an account."""
        return self._numbers[: self._accounts]

    @property
    def volumes(self) -> Volumes:
        """How many rows honest users query if the attack spends its whole budget, and how many they should query."""
        return Volumes(
            heavy=Count(min(self._budget, len(self._inputs)), self._budget),
            light=Count(sum(call.rows for call in self._light), int(self._budget * LIGHT_SHARE)),
        )

    def after(self, rows: int) -> list[QueryBatch]:
        """Return what follows an attack call of ``rows`` rows: as many rows of the heavy account, then light calls."""
        self._attacked += rows
        calls = self._take(LIGHT_ACCOUNTS, rows)
        while self._played < len(self._light) and self._light[self._played].after <= self._attacked:
            calls += self._next_light()
        return calls

    def rest(self) -> list[QueryBatch]:
        """Return the remaining calls of the light accounts, which are answered before the oracle closes."""
        calls: list[QueryBatch] = []
        while self._played < len(self._light):
            calls += self._next_light()
        return calls

    def labels(self, calls: Iterable[QueryBatch]) -> Tensor:
        """Return the labels (rows,) of recorded honest calls, in their order."""
        return self._labels[self.images(calls)]

    def images(self, calls: Iterable[QueryBatch]) -> Tensor:
        """Return the indices (rows,) int64 into the honest split of the rows of recorded honest calls, in order."""
        position: dict[int, int] = {}
        found = []
        numbers = self._numbers[self._accounts :]
        for call in calls:
            start = position.get(call.account, 0)
            position[call.account] = start + len(call.inputs)
            order = self._orders[numbers.index(call.account)]
            found.append(order[start : position[call.account]])
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64)

    def _next_light(self) -> list[QueryBatch]:
        call = self._light[self._played]
        self._played += 1
        return self._take(call.light, call.rows)

    def _take(self, account: int, rows: int) -> list[QueryBatch]:
        start = self._queried[account]
        chosen = self._orders[account][start : start + rows]
        self._queried[account] += len(chosen)
        if not len(chosen):
            return []
        return [QueryBatch(inputs=self._inputs[chosen], account=self._numbers[self._accounts + account])]


def distinct_numbers(count: int, *, below: int, rng: torch.Generator) -> list[int]:
    """Return ``count`` different numbers in [0, below), by shuffling only the beginning of the range."""
    moved: dict[int, int] = {}
    drawn = []
    for place in range(count):
        other = place + int(torch.randint(below - place, (1,), generator=rng))
        drawn.append(moved.get(other, other))
        moved[other] = moved.get(place, place)
    return drawn


def _light_calls(rows: int, budget: int, most: int, rng: torch.Generator) -> list[LightCall]:
    """Share ``rows`` among the light accounts, at most ``most`` each, in calls of 1 to 8 rows at uniform times."""
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
    """The honest calls of a script, in order and numbered, so that the ledger recognises a repeated one."""

    def __init__(self, script: HonestScript | None) -> None:
        self._script = script
        self._finished = False
        self._number = 0
        self.waiting: deque[QueryBatch] = deque()

    @property
    def due(self) -> QueryBatch | None:
        """The next honest call, or None if none is waiting."""
        return self.waiting[0] if self.waiting else None

    @property
    def request_id(self) -> bytes:
        """The request id of the next honest call."""
        return self._number.to_bytes(REQUEST_ID_BYTES, "little")

    def answered(self) -> None:
        """Move past the next honest call, which was answered."""
        self.waiting.popleft()
        self._number += 1

    def follow(self, rows: int) -> None:
        """Add the calls that follow an attack call of ``rows`` rows."""
        if self._script is not None:
            self.waiting.extend(self._script.after(rows))

    def finish(self) -> None:
        """Add the calls that are left when the attack is over."""
        if self._script is not None and not self._finished:
            self.waiting.extend(self._script.rest())
        self._finished = True
