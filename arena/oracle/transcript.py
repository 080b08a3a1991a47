"""The record of a match: its calls and answers, the hash chain over them, and the transcript digest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from arena.contracts import Answer, LedgerCorrupt, QueryBatch
from arena.learning.tensors import Packed, canonical, digest_of, pack, row_digests, unpack


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedBatch(QueryBatch):
    """A call that arrived as bytes; ``packed`` equals ``pack(inputs, compact=True)`` and saves that work."""

    packed: Packed


@dataclass(frozen=True, kw_only=True)
class Request:
    """A call as it arrived, packed once; ``content`` is the digest that identifies a repeated request."""

    id: bytes  # 16 bytes, drawn by the client; ids of honest traffic are a separate name space
    account: int  # the number that the defense sees
    explain: bool
    honest: bool
    inputs: Packed  # (N, *shape)
    content: str

    @classmethod
    def of(cls, request_id: bytes, queries: QueryBatch, *, honest: bool) -> Request:
        inputs = queries.packed if isinstance(queries, PackedBatch) else pack(queries.inputs, compact=True)
        return cls(
            id=request_id,
            account=queries.account,
            explain=queries.explain,
            honest=honest,
            inputs=inputs,
            content=content_digest(inputs, account=queries.account, explain=queries.explain),
        )

    @property
    def queries(self) -> QueryBatch:
        return QueryBatch(inputs=unpack(self.inputs), account=self.account, explain=self.explain)


@dataclass(frozen=True, kw_only=True)
class Release:
    """The bytes of an answer."""

    posteriors: Packed  # (N, K) float32
    refused: bytes  # N bytes, 0 or 1
    explanations: Packed | None = None

    @classmethod
    def of(cls, answer: Answer) -> Release:
        """Return the bytes of any answer; a recorded answer has them already."""
        if isinstance(answer, PackedAnswer):
            return answer.call
        return cls(
            posteriors=pack(answer.posteriors),
            refused=answer.refused.to("cpu", torch.uint8).numpy().tobytes(),
            explanations=None if answer.explanations is None else pack(answer.explanations),
        )


@dataclass(frozen=True, kw_only=True)
class Call(Release):
    """A recorded call: the request, its price, and the bytes that were released."""

    request: Request
    price: int  # units of the budget, 0 when honest

    @classmethod
    def to(cls, request: Request, answer: Answer, *, price: int) -> Call:
        """Return the record of a request and its answer."""
        bytes_of = Release.of(answer)
        return cls(
            request=request,
            price=price,
            posteriors=bytes_of.posteriors,
            refused=bytes_of.refused,
            explanations=bytes_of.explanations,
        )

    @property
    def honest(self) -> bool:
        return self.request.honest

    @property
    def rows(self) -> int:
        return len(self.refused)

    @property
    def queries(self) -> QueryBatch:
        return self.request.queries

    @property
    def answer(self) -> PackedAnswer:
        return PackedAnswer(
            posteriors=unpack(self.posteriors),
            refused=torch.frombuffer(bytearray(self.refused), dtype=torch.bool),
            explanations=None if self.explanations is None else unpack(self.explanations),
            call=self,
        )

    def link_after(self, previous: str) -> str:
        """Return the link of the hash chain that this call adds to ``previous``."""
        terms = f"{self.request.account} {self.price} {self.honest:d}"
        answer = (*_parts(self.posteriors), self.refused, *_parts(self.explanations))
        return digest_of([previous, self.request.id, terms, self.request.content, *answer])


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedAnswer(Answer):
    """An answer with its recorded call, so that the stored bytes are the ones that are sent."""

    call: Call

    @classmethod
    def of(cls, answer: Answer, call: Call) -> PackedAnswer:
        return cls(posteriors=answer.posteriors, refused=answer.refused, explanations=answer.explanations, call=call)


def content_digest(inputs: Packed, *, account: int, explain: bool) -> str:
    """Return the digest of a call's inputs, account and explain flag."""
    return digest_of([f"{account} {explain:d}", *_parts(inputs)])


def first_link(*, budget: int, attempt: int) -> str:
    """Return the link before the first call, which binds the chain to the ledger's budget and attempt."""
    return digest_of([f"arena ledger 1: budget {budget}, attempt {attempt}"])


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What the attack queried and paid, without the honest traffic."""

    spent: int = 0  # units of the budget
    rows: int = 0
    distinct_rows: int = 0
    calls: int = 0


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """All calls of a match in recorded order; tensors are concatenated in that order, refused rows included."""

    calls: tuple[Call, ...] = field(repr=False)
    digest: str
    counts: Counts
    link: str  # the last link of the ledger's hash chain

    @property
    def attack_calls(self) -> tuple[Call, ...]:
        return tuple(call for call in self.calls if not call.honest)

    @property
    def honest_calls(self) -> tuple[Call, ...]:
        return tuple(call for call in self.calls if call.honest)

    @property
    def attack_inputs(self) -> Tensor:
        """(N, *shape) float32; of shape (0,) if nothing was queried."""
        return _joined(unpack(call.request.inputs) for call in self.attack_calls)

    @property
    def attack_posteriors(self) -> Tensor:
        """(N, K) float32, zeros where refused; of shape (0,) if nothing was queried."""
        return _joined(unpack(call.posteriors) for call in self.attack_calls)

    @property
    def attack_refused(self) -> Tensor:
        """(N,) bool."""
        return _joined((call.answer.refused for call in self.attack_calls), dtype=torch.bool)

    @property
    def honest_inputs(self) -> Tensor:
        """(M, *shape) float32; of shape (0,) if there was no honest traffic."""
        return _joined(unpack(call.request.inputs) for call in self.honest_calls)

    @property
    def honest_posteriors(self) -> Tensor:
        """(M, K) float32, zeros where refused; of shape (0,) if there was no honest traffic."""
        return _joined(unpack(call.posteriors) for call in self.honest_calls)

    @property
    def honest_refused(self) -> Tensor:
        """(M,) bool."""
        return _joined((call.answer.refused for call in self.honest_calls), dtype=torch.bool)


def transcript_of(calls: Iterable[Call], *, budget: int, attempt: int) -> Transcript:
    """Return the transcript of a ledger's calls, with every digest computed from their bytes."""
    recorded = tuple(calls)
    link = first_link(budget=budget, attempt=attempt)
    for call in recorded:
        link = call.link_after(link)
    return Transcript(calls=recorded, digest=transcript_digest(recorded), counts=counts_of(recorded), link=link)


def transcript_digest(calls: Iterable[Call]) -> str:
    """Return the digest over account, explain flag, inputs, released rows, refusals and explanations, in order.

    Tensors are hashed as canonical float32, however they were sent. Request ids, prices and times are left out, so that
    the same match has the same digest over every transport.
    """
    return digest_of(part for call in calls for part in _digested(call))


def counts_of(calls: Iterable[Call]) -> Counts:
    """Return what the attack queried; two rows are equal if their canonical float32 bytes are."""
    attack = [call for call in calls if not call.honest]
    distinct = {digest for call in attack for digest in row_digests(unpack(call.request.inputs))}
    return Counts(
        spent=sum(call.price for call in attack),
        rows=sum(call.rows for call in attack),
        distinct_rows=len(distinct),
        calls=len(attack),
    )


def check_record(call: Call) -> None:
    """Raise `LedgerCorrupt` if a record's tensors cannot be read, differ in length, or do not match its digest."""
    request = call.request
    try:
        inputs, posteriors = unpack(request.inputs), unpack(call.posteriors)
    except ValueError as error:
        raise LedgerCorrupt(f"a recorded tensor cannot be read: {error}") from error
    if not len(inputs) == len(posteriors) == call.rows:
        raise LedgerCorrupt(f"a record has {len(inputs)} inputs, {len(posteriors)} answers and {call.rows} refusals")
    if request.content != content_digest(request.inputs, account=request.account, explain=request.explain):
        raise LedgerCorrupt("recorded inputs do not match their digest: the ledger was damaged or edited")


def _parts(packed: Packed | None) -> tuple[str | bytes, ...]:
    return ("none",) if packed is None else (f"{packed.dtype} {packed.shape}", packed.data)


def _digested(call: Call) -> Iterator[Tensor | bytes | str]:
    yield f"{call.request.account} {call.request.explain:d}"
    yield canonical(unpack(call.request.inputs))
    yield canonical(unpack(call.posteriors))
    yield call.refused
    yield "none" if call.explanations is None else canonical(unpack(call.explanations))


def _joined(parts: Iterable[Tensor], *, dtype: torch.dtype = torch.float32) -> Tensor:
    present = list(parts)
    return torch.cat(present) if present else torch.empty(0, dtype=dtype)
