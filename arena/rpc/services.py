"""The handlers of the gRPC services: each takes a request for a hosted match and returns a response."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor

import grpc

from arena.contracts import ArenaFault, AttackFault, InvalidQuery
from arena.match.clones import unpack_clone
from arena.oracle.relayed import RelayedSession
from arena.oracle.session import Session
from arena.proto.v1 import match_pb2, oracle_pb2
from arena.rpc.calls import Calls
from arena.rpc.codec import answer_to_message, query_from_message, rows_that_fit, tensor_to_message, terms_to_message
from arena.rpc.hosting import HostedMatch

_log = logging.getLogger(__name__)

ORACLE_SERVICE = oracle_pb2.DESCRIPTOR.services_by_name["OracleService"].full_name
MATCH_SERVICE = match_pb2.DESCRIPTOR.services_by_name["MatchService"].full_name


class OracleService:
    """The handlers of ``OracleService``; honest calls run in ``beside``, so that an attack does not wait for them."""

    def __init__(self, calls: Calls, beside: Executor) -> None:
        self._call = calls
        self._beside = beside

    def handlers(self) -> grpc.GenericRpcHandler:
        unary: Mapping[str, grpc.RpcMethodHandler] = {
            "Describe": self._call.unary(self.describe, oracle_pb2.DescribeRequest, "a request for the terms"),
            "Query": self._call.unary(self.query, oracle_pb2.QueryRequest, "a query"),
        }
        return grpc.method_handlers_generic_handler(ORACLE_SERVICE, unary)

    def describe(self, match: HostedMatch, request: oracle_pb2.DescribeRequest) -> oracle_pb2.DescribeResponse:
        session = match.session
        return terms_to_message(session.terms, remaining=session.remaining, max_bytes=self._call.max_message_bytes)

    def query(self, match: HostedMatch, request: oracle_pb2.QueryRequest) -> oracle_pb2.QueryResponse:
        """Answer a query, and start the honest calls that follow it; only the next query waits for these."""
        session = match.session
        answer = session.query(request.request_id, query_from_message(request))
        response = answer_to_message(answer, remaining=session.remaining)
        if session.honest_waits:
            self._beside.submit(_play_honest, session)
        return response


class MatchService:
    """The handlers of ``MatchService``."""

    def __init__(self, calls: Calls, *, max_clone_bytes: int, seconds_to_hand_back: float) -> None:
        self._call = calls
        self._max_clone_bytes = max_clone_bytes
        self._seconds_to_hand_back = seconds_to_hand_back

    def handlers(self) -> grpc.GenericRpcHandler:
        methods: Mapping[str, grpc.RpcMethodHandler] = {
            "Join": self._call.unary(self.join, match_pb2.JoinRequest, "a request to join"),
            "FetchPool": self._call.unary(self.fetch_pool, match_pb2.FetchPoolRequest, "a request for the pool"),
            "HandBack": self._call.stream(
                self.hand_back, match_pb2.HandBackRequest, "a part of a clone", seconds=self._seconds_to_hand_back
            ),
        }
        return grpc.method_handlers_generic_handler(MATCH_SERVICE, methods)

    def join(self, match: HostedMatch, request: match_pb2.JoinRequest) -> match_pb2.JoinResponse:
        return match_pb2.JoinResponse(
            pool_rows=0 if match.pool is None else len(match.pool),
            max_rows=self._pool_rows(match),
            seconds_left=match.seconds_left,
            seed=match.attack_seed,
            defense=match.defense,
            max_clone_bytes=self._max_clone_bytes,
        )

    def fetch_pool(self, match: HostedMatch, request: match_pb2.FetchPoolRequest) -> match_pb2.FetchPoolResponse:
        rows = 0 if match.pool is None else len(match.pool)
        if match.pool is None or request.first_row >= rows:
            raise InvalidQuery(f"there is no row {request.first_row}: the pool has {rows} rows, numbered from 0")
        chosen = match.pool[request.first_row : request.first_row + self._pool_rows(match)]
        return match_pb2.FetchPoolResponse(inputs=tensor_to_message(chosen, compact=True))

    def hand_back(
        self, match: HostedMatch, parts: Iterator[match_pb2.HandBackRequest | InvalidQuery]
    ) -> match_pb2.HandBackResponse:
        """Accept a clone, or raise `AttackFault` at once, with the reason, if it could not be scored."""
        clone = bytearray()
        for part in parts:
            if isinstance(part, InvalidQuery):
                raise part
            clone += part.chunk
            if len(clone) > self._max_clone_bytes:
                raise AttackFault(f"a clone may have at most {self._max_clone_bytes} bytes, and this one has more")
        unpack_clone(bytes(clone), match.session.terms.task)
        match.clone = bytes(clone)
        match.handed_back.set()
        return match_pb2.HandBackResponse()

    def _pool_rows(self, match: HostedMatch) -> int:
        return rows_that_fit(match.session.terms.task.shape, max_bytes=self._call.max_message_bytes)


def _play_honest(session: Session | RelayedSession) -> None:
    try:
        session.play_honest()
    except ArenaFault:
        _log.exception("honest calls could not be answered; the next query tries them again")
