"""Translates between our errors and gRPC's statuses, in both directions, by one table.

A status carries a machine-readable reason in its trailing metadata. A status without one was raised by grpc itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import grpc

from arena.contracts import (
    ArenaError,
    ArenaFault,
    AttackFault,
    BudgetExhausted,
    DeadlinePassed,
    DefenseFault,
    InvalidQuery,
    LedgerCorrupt,
    LedgerUnavailable,
    MatchClosed,
    NotAuthorised,
    Overloaded,
    QueryTooLarge,
    RequestConflict,
    ServiceUnreachable,
)

REASON = "arena-reason"
REMAINING = "arena-remaining"

RETRIED: tuple[type[ArenaError], ...] = (LedgerUnavailable, Overloaded, ServiceUnreachable)
"""After these errors a call may be sent again, with the same request id."""

_Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Status:
    """A failed call as it is sent over the wire."""

    code: grpc.StatusCode
    details: str
    metadata: _Metadata


_TABLE: dict[type[ArenaError], tuple[grpc.StatusCode, str]] = {
    InvalidQuery: (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_QUERY"),
    QueryTooLarge: (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUERY_TOO_LARGE"),
    # Not RESOURCE_EXHAUSTED, which grpc uses for overload and size: clients would back off and try again.
    BudgetExhausted: (grpc.StatusCode.FAILED_PRECONDITION, "BUDGET_EXHAUSTED"),
    RequestConflict: (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_CONFLICT"),
    MatchClosed: (grpc.StatusCode.FAILED_PRECONDITION, "MATCH_CLOSED"),
    NotAuthorised: (grpc.StatusCode.UNAUTHENTICATED, "NOT_AUTHORISED"),
    AttackFault: (grpc.StatusCode.ABORTED, "ATTACK_FAULT"),
    DefenseFault: (grpc.StatusCode.INTERNAL, "DEFENSE_FAULT"),
    DeadlinePassed: (grpc.StatusCode.FAILED_PRECONDITION, "DEADLINE_PASSED"),
    LedgerUnavailable: (grpc.StatusCode.UNAVAILABLE, "LEDGER_UNAVAILABLE"),
    LedgerCorrupt: (grpc.StatusCode.DATA_LOSS, "LEDGER_CORRUPT"),
    Overloaded: (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"),
    ServiceUnreachable: (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNREACHABLE"),
    ArenaFault: (grpc.StatusCode.INTERNAL, "ARENA_FAULT"),
}
_BY_REASON = {reason: error for error, (_, reason) in _TABLE.items()}

_BY_CODE: dict[grpc.StatusCode, type[ArenaError]] = {
    grpc.StatusCode.UNAUTHENTICATED: NotAuthorised,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNAVAILABLE: ServiceUnreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: ServiceUnreachable,
}
_UNTRUSTED = ("Tls handshake failed", "erification check failed")  # in grpc's texts for a server that is not trusted
_HUNG_UP = "Socket closed"  # in grpc's text for a server that ends the connection at once
_OVERSIZED = "larger than max"  # in grpc's text for a message over its limit, the only difference from overload


def to_status(error: Exception) -> Status:
    """Return the status of an error; an unexpected error becomes `ArenaFault`, and its text is not sent."""
    code, reason = _TABLE[type(error) if isinstance(error, ArenaError) and type(error) in _TABLE else ArenaFault]
    details = str(error) if isinstance(error, ArenaError) else "the oracle failed; the match will be played again"
    remaining = ((REMAINING, str(error.remaining)),) if isinstance(error, BudgetExhausted) else ()
    return Status(code=code, details=details, metadata=((REASON, reason), *remaining))


def from_status(code: grpc.StatusCode, details: str, metadata: Iterable[tuple[str, str | bytes]]) -> ArenaError:
    """Return the error of a status, with the message with which it was raised."""
    fields = {key: str(value) for key, value in metadata}
    if REASON in fields:
        kind = _BY_REASON.get(fields[REASON], ArenaFault)
        if kind is BudgetExhausted:
            return BudgetExhausted(details, remaining=int(fields.get(REMAINING, "0")))
        return kind(details)
    if code is grpc.StatusCode.UNAVAILABLE and any(words in details for words in _UNTRUSTED):
        message = (
            "the server's certificate is not one that this client trusts, or the server uses no TLS: it belongs to "
            f"another run or another host, and nothing was sent to it ({details})"
        )
        return NotAuthorised(message)
    if code is grpc.StatusCode.UNAVAILABLE and _HUNG_UP in details:
        details += "; the server may expect TLS, or a certificate of this client that it trusts"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _OVERSIZED in details:
        return QueryTooLarge(details)
    return _BY_CODE.get(code, ArenaFault)(f"{code.name}: {details}")
