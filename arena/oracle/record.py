"""The record of a call: the request and the answer as bytes, and its link of the hash chain."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from arena.contracts import Answer, LedgerCorrupt, QueryBatch
from arena.learning.tensors import Packed, check_filled, digest_of, pack, unpack


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


def check_record(call: Call) -> None:
    """Raise `LedgerCorrupt` if a record's tensors cannot be read, differ in length, or do not match its digest."""
    request = call.request
    try:
        for packed in (request.inputs, call.posteriors):
            check_filled(packed)
    except ValueError as error:
        raise LedgerCorrupt(f"a recorded tensor cannot be read: {error}") from error
    inputs, posteriors = (packed.shape[0] if packed.shape else 0 for packed in (request.inputs, call.posteriors))
    if not inputs == posteriors == call.rows:
        raise LedgerCorrupt(f"a record has {inputs} inputs, {posteriors} answers and {call.rows} refusals")
    if request.content != content_digest(request.inputs, account=request.account, explain=request.explain):
        raise LedgerCorrupt("recorded inputs do not match their digest: the ledger was damaged or edited")


def _parts(packed: Packed | None) -> tuple[str | bytes, ...]:
    return ("none",) if packed is None else (f"{packed.dtype} {packed.shape}", packed.data)
