"""Handles what is common to all calls over the wire: tokens, limits on concurrent calls, and errors as statuses."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from arena.contracts import ArenaError, ArenaFault, InvalidQuery, Overloaded, QueryTooLarge
from arena.oracle.meter import Meter
from arena.rpc.errors import to_status
from arena.rpc.hosting import HostedMatch, HostedMatches

_log = logging.getLogger(__name__)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Parsed = TypeVar("_Parsed", bound=Message)


class Calls:
    """Admits calls to the hosted matches, and limits how many run at once, per match and in all; thread-safe.

    A match that uses up its own share is told to try again later, and does not hold up any other match.
    """

    def __init__(
        self,
        matches: HostedMatches,
        *,
        max_message_bytes: int,
        max_at_once: int,
        max_at_once_a_match: int,
        meter: Meter,
    ) -> None:
        self._matches, self._meter = matches, meter
        self.max_message_bytes = max_message_bytes
        self._max_at_once, self._max_at_once_a_match = max_at_once, max_at_once_a_match
        self._under_way: Counter[HostedMatch] = Counter()
        self._lock = threading.Lock()

    def unary(
        self, handler: Callable[[HostedMatch, _Parsed], Message], kind: type[_Parsed], what: str
    ) -> grpc.RpcMethodHandler:
        """Return the handler of a method with a single request, which is called ``what`` in errors."""
        return grpc.unary_unary_rpc_method_handler(
            self._admitted(handler), request_deserializer=self._parser(kind, what), response_serializer=_serialised
        )

    def stream(
        self,
        handler: Callable[[HostedMatch, Iterator[_Parsed | InvalidQuery]], Message],
        kind: type[_Parsed],
        what: str,
        *,
        seconds: float,
    ) -> grpc.RpcMethodHandler:
        """Return the handler of a method whose request comes in parts; its stream is cancelled after ``seconds``."""

        def timed(parts: Iterator[_Parsed | InvalidQuery], context: grpc.ServicerContext) -> Message:
            timer = threading.Timer(seconds, context.cancel)
            timer.daemon = True
            timer.start()
            try:
                return admitted(parts, context)
            finally:
                timer.cancel()

        admitted = self._admitted(handler)
        return grpc.stream_unary_rpc_method_handler(
            timed, request_deserializer=self._parser(kind, what), response_serializer=_serialised
        )

    def _admitted(
        self, handler: Callable[[HostedMatch, _Request], _Response]
    ) -> Callable[[_Request | InvalidQuery | QueryTooLarge, grpc.ServicerContext], _Response]:
        """Return a handler that first finds the match of the call's token, and that turns errors into statuses."""

        def admitted(request: _Request | InvalidQuery | QueryTooLarge, context: grpc.ServicerContext) -> _Response:
            handled = False
            try:
                metadata = dict(context.invocation_metadata() or ())
                match = self._matches.admit(str(metadata.get("authorization", "")))
                if isinstance(request, InvalidQuery | QueryTooLarge):
                    raise request
                with self._counted(match):
                    handled = True  # from here on, the session counts what it refuses
                    return handler(match, request)
            except grpc.RpcError:  # the client left in the middle of its stream
                raise
            except Exception as error:
                if not handled:
                    self._meter.refused(error)
                if not isinstance(error, ArenaError) or (
                    isinstance(error, ArenaFault) and not isinstance(error, Overloaded)
                ):
                    _log.exception("a call failed, and the client is not at fault")
                status = to_status(error)
                context.set_trailing_metadata(status.metadata)
                context.abort(status.code, status.details)
                raise

        return admitted

    @contextlib.contextmanager
    def _counted(self, match: HostedMatch) -> Iterator[None]:
        """Count a call while it runs. Raises `Overloaded` if its match, or all matches together, have too many."""
        with self._lock:
            of_match, in_all = self._under_way[match], self._under_way.total()
            if of_match >= self._max_at_once_a_match:
                raise Overloaded(
                    f"this match has {of_match} calls under way, the most allowed at once; try again later"
                )
            if in_all >= self._max_at_once:
                raise Overloaded(f"the server has {in_all} calls under way, the most allowed at once; try again later")
            self._under_way[match] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[match] -= 1
                if not self._under_way[match]:
                    del self._under_way[match]

    def _parser(self, kind: type[_Parsed], what: str) -> Callable[[bytes], _Parsed | InvalidQuery | QueryTooLarge]:
        """Return a parser of requests; it returns its errors, because grpc reports raised ones as a server fault."""

        def parse(data: bytes) -> _Parsed | InvalidQuery | QueryTooLarge:
            if len(data) > self.max_message_bytes:
                return QueryTooLarge(f"{what} has {len(data)} bytes; at most {self.max_message_bytes} are allowed")
            try:
                parsed: _Parsed = kind.FromString(data)
                return parsed
            except DecodeError:
                return InvalidQuery(f"the {len(data)} bytes received cannot be read as {what}, which is expected here")

        return parse


def _serialised(message: Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data
