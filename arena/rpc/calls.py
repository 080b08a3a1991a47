"""What every call over the wire goes through: its token, limits on how many there are at once, and errors as statuses."""

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
from arena.rpc.errors import to_status
from arena.rpc.hosting import HostedMatch, HostedMatches

_log = logging.getLogger(__name__)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Parsed = TypeVar("_Parsed", bound=Message)


class Calls:
    """Admits calls to the hosted matches, so many at once in all and so many a match; may be called from any thread.

    A match that uses up its own share is told to try again later, and no other match waits for it.
    """

    def __init__(
        self, matches: HostedMatches, *, max_message_bytes: int, max_at_once: int, max_at_once_a_match: int
    ) -> None:
        self._matches = matches
        self.max_message_bytes = max_message_bytes
        self._max_at_once, self._max_at_once_a_match = max_at_once, max_at_once_a_match
        self._under_way: Counter[HostedMatch] = Counter()
        self._lock = threading.Lock()

    def unary(
        self, handler: Callable[[HostedMatch, _Parsed], Message], kind: type[_Parsed], what: str
    ) -> grpc.RpcMethodHandler:
        """Return the handler of a method with one request, which ``what`` names in errors."""
        return grpc.unary_unary_rpc_method_handler(
            self._told(handler), request_deserializer=self._parser(kind, what), response_serializer=_serialised
        )

    def stream(
        self,
        handler: Callable[[HostedMatch, Iterator[_Parsed | InvalidQuery]], Message],
        kind: type[_Parsed],
        what: str,
        *,
        seconds: float,
    ) -> grpc.RpcMethodHandler:
        """Return the handler of a method whose request comes in parts; after ``seconds`` its stream is cut off."""

        def timed(parts: Iterator[_Parsed | InvalidQuery], context: grpc.ServicerContext) -> Message:
            timer = threading.Timer(seconds, context.cancel)
            timer.daemon = True
            timer.start()
            try:
                return told(parts, context)
            finally:
                timer.cancel()

        told = self._told(handler)
        return grpc.stream_unary_rpc_method_handler(
            timed, request_deserializer=self._parser(kind, what), response_serializer=_serialised
        )

    def _told(
        self, handler: Callable[[HostedMatch, _Request], _Response]
    ) -> Callable[[_Request | InvalidQuery | QueryTooLarge, grpc.ServicerContext], _Response]:
        """Find the match that a call is for, and turn whatever is raised into a status."""

        def told(request: _Request | InvalidQuery | QueryTooLarge, context: grpc.ServicerContext) -> _Response:
            try:
                metadata = dict(context.invocation_metadata() or ())
                match = self._matches.admit(str(metadata.get("authorization", "")))
                if isinstance(request, InvalidQuery | QueryTooLarge):
                    raise request
                with self._counted(match):
                    return handler(match, request)
            except grpc.RpcError:  # of a client that left in the middle of its stream
                raise
            except Exception as error:
                if not isinstance(error, ArenaError) or (
                    isinstance(error, ArenaFault) and not isinstance(error, Overloaded)
                ):
                    _log.exception("a call failed through our fault")
                status = to_status(error)
                context.set_trailing_metadata(status.metadata)
                context.abort(status.code, status.details)
                raise

        return told

    @contextlib.contextmanager
    def _counted(self, match: HostedMatch) -> Iterator[None]:
        """Count a call while it is answered. Raises `Overloaded` if its match, or all together, have too many."""
        with self._lock:
            mine, everybodys = self._under_way[match], self._under_way.total()
            if mine >= self._max_at_once_a_match:
                raise Overloaded(f"{mine} calls of this match are under way, and no more are taken at once; try again")
            if everybodys >= self._max_at_once:
                raise Overloaded(f"{everybodys} calls are under way, and no more are taken at once; try again")
            self._under_way[match] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[match] -= 1
                if not self._under_way[match]:
                    del self._under_way[match]

    def _parser(self, kind: type[_Parsed], what: str) -> Callable[[bytes], _Parsed | InvalidQuery | QueryTooLarge]:
        """Parse requests; what cannot be read is told to the handler, since grpc would call it an unknown fault of ours."""

        def parse(data: bytes) -> _Parsed | InvalidQuery | QueryTooLarge:
            if len(data) > self.max_message_bytes:
                return QueryTooLarge(f"{what} has {len(data)} bytes, and at most {self.max_message_bytes} are taken")
            try:
                parsed: _Parsed = kind.FromString(data)
                return parsed
            except DecodeError:
                return InvalidQuery(f"{what} is expected here, and {len(data)} bytes came that cannot be read as one")

        return parse


def _serialised(message: Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data
