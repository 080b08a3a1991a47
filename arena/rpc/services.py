"""The handlers behind the wire: from a request to a hosted match and back, every error turned into a status."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from arena.contracts import ArenaError, ArenaFault, AttackFault, InvalidQuery
from arena.oracle.session import Session
from arena.proto.v1 import match_pb2, oracle_pb2
from arena.rpc.codec import answer_to_message, query_from_message, rows_that_fit, tensor_to_message, terms_to_message
from arena.rpc.errors import to_status
from arena.rpc.hosting import HostedMatch, HostedMatches

_log = logging.getLogger(__name__)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Parsed = TypeVar("_Parsed", bound=Message)

ORACLE_SERVICE = oracle_pb2.DESCRIPTOR.services_by_name["OracleService"].full_name
MATCH_SERVICE = match_pb2.DESCRIPTOR.services_by_name["MatchService"].full_name


class OracleService:
    """Handlers of ``OracleService``; honest calls are played in ``beside``, so that no attack waits for them."""

    def __init__(self, matches: HostedMatches, beside: Executor, *, max_message_bytes: int) -> None:
        self._matches = matches
        self._beside = beside
        self._max_message_bytes = max_message_bytes

    def handlers(self) -> grpc.GenericRpcHandler:
        unary: Mapping[str, grpc.RpcMethodHandler] = {
            "Describe": _unary(self.describe, oracle_pb2.DescribeRequest, self._matches),
            "Query": _unary(self.query, oracle_pb2.QueryRequest, self._matches),
        }
        return grpc.method_handlers_generic_handler(ORACLE_SERVICE, unary)

    def describe(self, match: HostedMatch, request: oracle_pb2.DescribeRequest) -> oracle_pb2.DescribeResponse:
        session = match.session
        return terms_to_message(session.terms, remaining=session.remaining, max_bytes=self._max_message_bytes)

    def query(self, match: HostedMatch, request: oracle_pb2.QueryRequest) -> oracle_pb2.QueryResponse:
        """Answer, and have the honest calls that follow played without waiting for them: the next query does."""
        session = match.session
        answer = session.query(request.request_id, query_from_message(request))
        response = answer_to_message(answer, remaining=session.remaining)
        if session.honest_waits:
            self._beside.submit(_play_honest, session)
        return response


class MatchService:
    """Handlers of ``MatchService``."""

    def __init__(self, matches: HostedMatches, *, max_message_bytes: int, max_clone_bytes: int) -> None:
        self._matches = matches
        self._max_message_bytes = max_message_bytes
        self._max_clone_bytes = max_clone_bytes

    def handlers(self) -> grpc.GenericRpcHandler:
        methods: Mapping[str, grpc.RpcMethodHandler] = {
            "Join": _unary(self.join, match_pb2.JoinRequest, self._matches),
            "FetchPool": _unary(self.fetch_pool, match_pb2.FetchPoolRequest, self._matches),
            "HandBack": grpc.stream_unary_rpc_method_handler(
                _told(self.hand_back, self._matches),
                request_deserializer=_parser(match_pb2.HandBackRequest),
                response_serializer=_serialised,
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
            raise InvalidQuery(f"the pool has {rows} rows, none is number {request.first_row}")
        chosen = match.pool[request.first_row : request.first_row + self._pool_rows(match)]
        return match_pb2.FetchPoolResponse(inputs=tensor_to_message(chosen, compact=True))

    def hand_back(
        self, match: HostedMatch, parts: Iterator[match_pb2.HandBackRequest | InvalidQuery]
    ) -> match_pb2.HandBackResponse:
        clone = bytearray()
        for part in parts:
            if isinstance(part, InvalidQuery):
                raise part
            clone += part.chunk
            if len(clone) > self._max_clone_bytes:
                raise AttackFault(f"a clone has at most {self._max_clone_bytes} bytes")
        match.clone = bytes(clone)
        match.handed_back.set()
        return match_pb2.HandBackResponse()

    def _pool_rows(self, match: HostedMatch) -> int:
        return rows_that_fit(match.session.terms.task.shape, max_bytes=self._max_message_bytes)


def _unary(
    handler: Callable[[HostedMatch, _Parsed], Message], kind: type[_Parsed], matches: HostedMatches
) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        _told(handler, matches), request_deserializer=_parser(kind), response_serializer=_serialised
    )


def _told(
    handler: Callable[[HostedMatch, _Request], _Response], matches: HostedMatches
) -> Callable[[_Request | InvalidQuery, grpc.ServicerContext], _Response]:
    """Find the match that a call is for, and turn whatever is raised into a status."""

    def told(request: _Request | InvalidQuery, context: grpc.ServicerContext) -> _Response:
        try:
            metadata = dict(context.invocation_metadata() or ())
            match = matches.admit(str(metadata.get("authorization", "")))
            if isinstance(request, InvalidQuery):
                raise request
            return handler(match, request)
        except grpc.RpcError:  # of a client that left in the middle of its stream
            raise
        except Exception as error:
            if not isinstance(error, ArenaError) or isinstance(error, ArenaFault):
                _log.exception("a call failed through our fault")
            status = to_status(error)
            context.set_trailing_metadata(status.metadata)
            context.abort(status.code, status.details)
            raise

    return told


def _parser(kind: type[_Parsed]) -> Callable[[bytes], _Parsed | InvalidQuery]:
    """Parse requests; what is none is told to the handler, since grpc would call it an unknown fault of ours."""

    def parse(data: bytes) -> _Parsed | InvalidQuery:
        try:
            parsed: _Parsed = kind.FromString(data)
            return parsed
        except DecodeError:
            return InvalidQuery(f"{len(data)} bytes that are no {kind.DESCRIPTOR.full_name}")

    return parse


def _serialised(message: Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _play_honest(session: Session) -> None:
    try:
        session.play_honest()
    except ArenaFault:
        _log.exception("honest calls wait for the next query")
