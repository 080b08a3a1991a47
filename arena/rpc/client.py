"""The client of a match over gRPC: its connection, its oracle, its pool, and the handing back of its clone."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar

import grpc
import torch
from torch import Tensor

from arena.contracts import Answer, BudgetExhausted, DeadlinePassed, InvalidQuery, QueryBatch, Task
from arena.learning.row_log import RowLog
from arena.oracle.local import ask_in_calls
from arena.proto.v1 import match_pb2, match_pb2_grpc, oracle_pb2, oracle_pb2_grpc
from arena.rpc.codec import (
    answer_from_message,
    packed_from_message,
    query_to_message,
    terms_from_message,
)
from arena.rpc.errors import RETRIED, from_status
from arena.rpc.tls import ClientTls

_CHUNK_BYTES = 1 << 15  # the size of a clone's chunk, which every server accepts
_BACKOFF_SECONDS = (0.05, 5.0)  # the first and the longest pause; each is twice the last, then shortened at random
_JITTER = random.SystemRandom()  # the attack may have seeded Python's global generator

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Connection:
    """A channel to the match that a token identifies; use it as a context manager.

    Each call has a deadline of ``call_seconds``. A call without an answer, because the server is unreachable,
    overloaded or too slow, is tried up to ``tries`` times in all while ``time_left`` is above 0. Its request id stays
    the same, so it is charged once. A connection cannot be used across a fork. With ``tls`` it is encrypted, and a server
    with a certificate of another authority is refused with `NotAuthorised` at the first call.
    """

    def __init__(
        self,
        address: str,
        token: str,
        *,
        tls: ClientTls | None = None,
        time_left: Callable[[], float] | None = None,
        call_seconds: float = 60.0,
        tries: int = 8,
        max_message_bytes: int = 64 << 20,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._time_left = time_left
        self._call_seconds = call_seconds
        self._tries = tries
        self._sleep = sleep
        self._metadata = (("authorization", f"Bearer {token}"),)
        options = [
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.enable_retries", 0),  # `call` retries, with the same request id
            ("grpc.use_local_subchannel_pool", 1),  # each match has a connection of its own
            ("grpc.enable_http_proxy", 0),  # connect to an oracle directly, whatever http_proxy says
        ]
        if tls is None:
            self.channel = grpc.insecure_channel(address, options=options)
        else:
            named = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
            self.channel = grpc.secure_channel(address, tls.credentials, options=[*options, *named])

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.channel.close()

    @property
    def time_left(self) -> Callable[[], float] | None:
        return self._time_left

    def call(self, method: Callable[..., _Response], request: Callable[[], _Request]) -> _Response:
        """Send a request until it is answered; ``request`` makes it anew for each try: a stream is sent only once.

        Raises what the server raised, after the last try `ServiceUnreachable`, `Overloaded` or `LedgerUnavailable`, and
        `DeadlinePassed` once ``time_left`` is 0 or less.
        """
        pause, longest = _BACKOFF_SECONDS
        tries_left = self._tries
        while True:
            tries_left -= 1
            try:
                return method(request(), timeout=self._timeout(), metadata=self._metadata)
            except grpc.RpcError as failure:
                error = from_status(failure.code(), failure.details() or "", failure.trailing_metadata() or ())
                if not isinstance(error, RETRIED) or tries_left <= 0:
                    raise error from failure
            self._sleep(min(pause * _JITTER.uniform(0.5, 1.0), self._timeout()))
            pause = min(2 * pause, longest)

    def _timeout(self) -> float:
        if self._time_left is None:
            return self._call_seconds
        left = self._time_left()
        if left <= 0:
            raise DeadlinePassed("the attack's time is over; no more queries are sent")
        return min(self._call_seconds, left)


class RemoteOracle:
    """An oracle in another process, which answers, refuses and charges exactly as `LocalOracle` does.

    ``remaining`` is taken from the last answer; another client with the same token may have spent some of it since.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = oracle_pb2_grpc.OracleServiceStub(connection.channel)
        description = connection.call(self._stub.Describe, oracle_pb2.DescribeRequest)
        self._terms = terms_from_message(description)
        self._remaining: int = description.remaining

    @property
    def task(self) -> Task:
        return self._terms.task

    @property
    def accounts(self) -> int:
        return self._terms.accounts

    @property
    def explanation(self) -> str | None:
        return self._terms.explanation

    @property
    def explanation_price(self) -> int:
        return self._terms.explanation_price

    @property
    def remaining(self) -> int:
        return self._remaining

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        """See `arena.contracts.Oracle`; also raises `ServiceUnreachable` and `DeadlinePassed`."""
        return ask_in_calls(
            self._terms,
            inputs,
            explain=explain,
            account=account,
            remaining=self._remaining,
            time_left=self._connection.time_left,
            send=self._send,
        )

    def _send(self, request_id: bytes, queries: QueryBatch) -> Answer:
        message = query_to_message(request_id, queries)
        try:
            response = self._connection.call(self._stub.Query, lambda: message)
        except BudgetExhausted as refusal:
            self._remaining = refusal.remaining
            raise
        self._remaining = response.remaining
        return answer_from_message(response)


class RemoteMatch:
    """What an attack needs besides the oracle: its pool, its time limit, its seed, and a way to hand in its clone."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = match_pb2_grpc.MatchServiceStub(connection.channel)
        joined = connection.call(self._stub.Join, match_pb2.JoinRequest)
        self._ends_at = time.monotonic() + joined.seconds_left if joined.HasField("seconds_left") else float("inf")
        self.seed: int = joined.seed
        self.pool_rows: int = joined.pool_rows
        self.max_clone_bytes: int = joined.max_clone_bytes
        self.defense: str | None = joined.defense if joined.HasField("defense") else None
        """The defense's spec as JSON; None in a blind match."""

    def time_left(self) -> float:
        """Return the seconds until the oracle closes; infinite if there is no limit."""
        return self._ends_at - time.monotonic()

    def fetch_pool(self, task: Task) -> Tensor:
        """Return the pool (M, *shape), compact if large; M = 0 if the match is data-free."""
        pool = RowLog()
        while len(pool) < self.pool_rows:
            request = functools.partial(match_pb2.FetchPoolRequest, first_row=len(pool))
            rows = packed_from_message(self._connection.call(self._stub.FetchPool, request).inputs)
            if rows.shape[0] == 0:
                raise InvalidQuery(f"the server's pool ended after {len(pool)} of {self.pool_rows} rows")
            if rows.shape[1:] != task.shape:
                raise InvalidQuery(f"the server's pool has rows of shape {rows.shape[1:]}, the task {task.shape}")
            pool.append(rows)
        return pool.tensor() if len(pool) else torch.empty(0, *task.shape)

    def hand_back(self, clone: bytes) -> None:
        """Hand in a clone as safetensors bytes; the last one that is accepted before the match closes is scored.

        Raises `AttackFault`, with the reason, if the clone could not be scored.
        """
        self._connection.call(self._stub.HandBack, lambda: _chunks(clone))


def _chunks(clone: bytes) -> Iterator[match_pb2.HandBackRequest]:
    for start in range(0, len(clone), _CHUNK_BYTES):
        yield match_pb2.HandBackRequest(chunk=clone[start : start + _CHUNK_BYTES])
