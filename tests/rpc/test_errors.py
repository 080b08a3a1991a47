"""The table of errors and statuses, read in both directions."""

from __future__ import annotations

import grpc
import pytest

from arena.contracts import (
    ArenaError,
    ArenaFault,
    BudgetExhausted,
    DefenseFault,
    LedgerUnavailable,
    MatchClosed,
    NotAuthorised,
    Overloaded,
    PlayerFault,
    QueryRefused,
    QueryTooLarge,
    RequestConflict,
    ServiceUnreachable,
    UsageError,
)
from arena.rpc.errors import RETRIED, from_status, to_status


def leaves(root: type[ArenaError]) -> list[type[ArenaError]]:
    return [leaf for child in root.__subclasses__() for leaf in leaves(child)] or [root]


@pytest.mark.parametrize(
    "kind",
    [
        leaf
        for root in (QueryRefused, PlayerFault, ArenaFault)
        for leaf in leaves(root)
        if leaf.__module__ == "arena.contracts.errors"
    ],
)
def test_every_error_of_a_match_comes_back_as_itself_in_its_own_words(kind: type[ArenaError]):
    status = to_status(kind("what was asked"))
    error = from_status(status.code, status.details, status.metadata)
    assert type(error) is kind
    assert str(error) == "what was asked"


def test_a_spent_budget_is_no_overload_and_says_what_remains():
    status = to_status(BudgetExhausted("over", remaining=3))
    assert status.code is grpc.StatusCode.FAILED_PRECONDITION
    error = from_status(status.code, status.details, status.metadata)
    assert isinstance(error, BudgetExhausted)
    assert error.remaining == 3


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (MatchClosed, grpc.StatusCode.FAILED_PRECONDITION),
        (RequestConflict, grpc.StatusCode.ALREADY_EXISTS),
        (NotAuthorised, grpc.StatusCode.UNAUTHENTICATED),
        (Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (QueryTooLarge, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (LedgerUnavailable, grpc.StatusCode.UNAVAILABLE),
        (DefenseFault, grpc.StatusCode.INTERNAL),
    ],
)
def test_an_error_has_its_status(kind: type[ArenaError], code: grpc.StatusCode):
    assert to_status(kind("words")).code is code


@pytest.mark.parametrize("error", [ValueError("/secret/path"), UsageError("ours")])
def test_what_is_not_in_the_table_is_our_fault(error: Exception):
    status = to_status(error)
    assert status.code is grpc.StatusCode.INTERNAL
    assert "/secret" not in status.details
    assert type(from_status(status.code, status.details, status.metadata)) is ArenaFault


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "failed to connect", ServiceUnreachable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", ServiceUnreachable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!", Overloaded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 8)", QueryTooLarge),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", ArenaFault),
    ],
)
def test_what_grpc_says_itself_has_an_error_too(code: grpc.StatusCode, details: str, kind: type[ArenaError]):
    assert type(from_status(code, details, ())) is kind


def test_only_what_may_pass_is_retried():
    assert set(RETRIED) == {LedgerUnavailable, Overloaded, ServiceUnreachable}
