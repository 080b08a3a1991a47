"""The transcript of a match: its calls in order, their digest and counts, and the rows that were asked and answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from arena.learning.compact import at, plain
from arena.learning.row_log import RowLog
from arena.learning.tensors import ROW_DIGEST_BYTES, Digest, canonical, row_digests, unpack
from arena.oracle.record import Call, first_link


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What the attack queried and paid, without the honest traffic."""

    spent: int = 0  # units of the budget
    rows: int = 0
    distinct_rows: int = 0
    calls: int = 0


class Summary:
    """The transcript digest and the counts of calls, which are added one by one in recorded order."""

    def __init__(self) -> None:
        self._digest = Digest()
        self._spent = self._rows = self._attack_calls = 0
        self._row_digests = bytearray()
        self.calls = 0  # of the attack and of honest users

    def add(self, call: Call) -> None:
        inputs = canonical(unpack(call.request.inputs))
        for part in _digested(call, inputs):
            self._digest.add(part)
        self.calls += 1
        if not call.honest:
            self._attack_calls += 1
            self._spent += call.price
            self._rows += call.rows
            self._row_digests += b"".join(row_digests(inputs))

    @property
    def digest(self) -> str:
        """The digest over account, explain flag, inputs, released rows, refusals and explanations, in order.

        Tensors are hashed as canonical float32, however they were sent. Request ids, prices and times are left out, so
        that the same match has the same digest over every transport.
        """
        return self._digest.text()

    @property
    def counts(self) -> Counts:
        """What the attack queried; two rows are equal if their canonical float32 bytes are."""
        digests = np.frombuffer(self._row_digests, dtype=f"S{ROW_DIGEST_BYTES}")
        return Counts(
            spent=self._spent, rows=self._rows, distinct_rows=len(np.unique(digests)), calls=self._attack_calls
        )


class RecordedCalls(Protocol):
    """The calls of a match in recorded order; each iteration may read them anew from a file."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Call]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class TranscriptRows:
    """The rows of all calls of a match in recorded order, refused rows included."""

    inputs: Tensor  # (N, *shape) float32, compact if large
    posteriors: Tensor  # (N, K) float32, zeros where refused
    refused: Tensor  # (N,) bool
    honest: Tensor  # (N,) bool: from honest users

    @classmethod
    def of(cls, calls: RecordedCalls, *, folder: Path | None) -> TranscriptRows:
        """Read the rows once; if they are many, the inputs are written to a file without a name in ``folder``."""
        inputs, released = RowLog(folder), RowLog(folder)
        refused, honest = bytearray(), bytearray()
        for call in calls:
            inputs.append(call.request.inputs)
            released.append(call.posteriors)
            refused += call.refused
            honest += bytes([call.honest]) * call.rows
        return cls(
            inputs=inputs.tensor(),
            posteriors=plain(released.tensor()),
            refused=_flags(refused),
            honest=_flags(honest),
        )


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """All calls of a match in recorded order; their rows are read when they are first used, and only once."""

    calls: RecordedCalls = field(repr=False)
    digest: str
    counts: Counts
    link: str  # the last link of the ledger's hash chain
    folder: Path | None = None  # where many rows are kept while they are used; None: the folder of temporary files

    @property
    def attack_calls(self) -> Iterator[Call]:
        return (call for call in self.calls if not call.honest)

    @property
    def honest_calls(self) -> Iterator[Call]:
        return (call for call in self.calls if call.honest)

    @cached_property
    def rows(self) -> TranscriptRows:
        return TranscriptRows.of(self.calls, folder=self.folder)

    @cached_property
    def attack_rows(self) -> Tensor:
        """The places (N,) int64 of the attack's rows among all rows."""
        return (~self.rows.honest).nonzero().flatten()

    @cached_property
    def honest_rows(self) -> Tensor:
        """The places (M,) int64 of the honest users' rows among all rows."""
        return self.rows.honest.nonzero().flatten()

    @cached_property
    def attack_inputs(self) -> Tensor:
        """(N, *shape) float32, compact if large; of shape (0,) if nothing was queried."""
        return _at(self.rows.inputs, self.attack_rows)

    @cached_property
    def attack_posteriors(self) -> Tensor:
        """(N, K) float32, zeros where refused; of shape (0,) if nothing was queried."""
        return _at(self.rows.posteriors, self.attack_rows)

    @cached_property
    def attack_refused(self) -> Tensor:
        """(N,) bool."""
        return self.rows.refused[self.attack_rows]

    @cached_property
    def honest_inputs(self) -> Tensor:
        """(M, *shape) float32; of shape (0,) if there was no honest traffic."""
        return _at(self.rows.inputs, self.honest_rows)

    @cached_property
    def honest_posteriors(self) -> Tensor:
        """(M, K) float32, zeros where refused; of shape (0,) if there was no honest traffic."""
        return _at(self.rows.posteriors, self.honest_rows)

    @cached_property
    def honest_refused(self) -> Tensor:
        """(M,) bool."""
        return self.rows.refused[self.honest_rows]


def transcript_of(calls: Iterable[Call], *, budget: int, attempt: int) -> Transcript:
    """Return the transcript of calls in memory, with every digest computed from their bytes."""
    recorded, summary = tuple(calls), Summary()
    link = first_link(budget=budget, attempt=attempt)
    for call in recorded:
        link = call.link_after(link)
        summary.add(call)
    return Transcript(calls=recorded, digest=summary.digest, counts=summary.counts, link=link)


def _digested(call: Call, inputs: Tensor) -> Iterator[Tensor | bytes | str]:
    yield f"{call.request.account} {call.request.explain:d}"
    yield inputs
    yield canonical(unpack(call.posteriors))
    yield call.refused
    yield "none" if call.explanations is None else canonical(unpack(call.explanations))


def _flags(values: bytearray) -> Tensor:
    return torch.frombuffer(values, dtype=torch.bool) if values else torch.empty(0, dtype=torch.bool)


def _at(rows: Tensor, places: Tensor) -> Tensor:
    return at(rows, places) if len(places) else torch.empty(0)
