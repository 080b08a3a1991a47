"""Oracles of many matches behind one gRPC server, each match under a token of its own."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import ipaddress
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from torch import Tensor

from arena.contracts import (
    ArenaError,
    ArenaFault,
    AttackFault,
    BadParameter,
    InvalidQuery,
    NotAuthorised,
    UsageError,
)
from arena.match.session import Session
from arena.match.transcript import Transcript
from arena.proto.v1 import match_pb2, match_pb2_grpc, oracle_pb2, oracle_pb2_grpc
from arena.rpc.codec import (
    answer_to_message,
    message_bytes,
    query_from_message,
    rows_that_fit,
    tensor_to_message,
    terms_to_message,
)
from arena.rpc.errors import to_status

_log = logging.getLogger(__name__)

_TOKEN_BYTES = 32
_STOP_SECONDS = 1.0  # that calls in flight are given when the server stops
_SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in ((oracle_pb2, "OracleService"), (match_pb2, "MatchService"))
)

_Value = TypeVar("_Value")
_Servicer = TypeVar("_Servicer")
_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


@dataclass(kw_only=True, eq=False)
class _Hosted:
    """A match that is served, and what it offers beside its oracle."""

    session: Session
    token_hash: bytes
    pool: Tensor | None
    seed: int
    defense: str | None
    ends_at: float | None  # on the monotonic clock
    clone: bytes | None = None
    handed_back: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def seconds_left(self) -> float | None:
        return None if self.ends_at is None else self.ends_at - time.monotonic()


class OracleServer:
    """A ``grpc.aio`` server in the running event loop; all methods are called there.

    Forwards run in one thread beside the loop, one at a time, so that health checks and other matches are not
    blocked. ``max_message_bytes`` bounds the calls of every match that it can host.
    """

    def __init__(
        self,
        *,
        max_message_bytes: int = 16 << 20,
        max_clone_bytes: int = 256 << 20,
        max_concurrent_calls: int = 64,
    ) -> None:
        self._max_message_bytes = max_message_bytes
        self._max_clone_bytes = max_clone_bytes
        self._max_concurrent_calls = max_concurrent_calls
        self._hosted: dict[bytes, _Hosted] = {}
        self._forwards = ThreadPoolExecutor(max_workers=1, thread_name_prefix="oracle")
        self._server: grpc.aio.Server | None = None
        self._address = ""

    @property
    def address(self) -> str:
        """Where clients connect, ``host:port``."""
        return self._address

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, exposed: bool = False) -> str:
        """Listen, and return the address; port 0 takes a free one.

        Raises `UsageError` if the port is in use, or if others could reach ``host`` and it is not said by ``exposed``
        that they may: tokens cross the network as they are.
        """
        if not exposed and not _is_loopback(host):
            raise UsageError(f"{host} can be reached from other machines, without encryption: ask for it explicitly")
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),  # else two servers share a port and neither knows
                ("grpc.max_receive_message_length", self._max_message_bytes),
                ("grpc.max_send_message_length", self._max_message_bytes),
                ("grpc.max_concurrent_streams", self._max_concurrent_calls),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
                ("grpc.http2.max_ping_strikes", 2),
            ],
            maximum_concurrent_rpcs=self._max_concurrent_calls,
        )
        oracle_pb2_grpc.add_OracleServiceServicer_to_server(_OracleService(self), server)
        match_pb2_grpc.add_MatchServiceServicer_to_server(_MatchService(self), server)
        checks = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        for service in ("", *_SERVICES):
            await checks.set(service, health_pb2.HealthCheckResponse.SERVING)
        reflection.enable_server_reflection((*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        place = f"[{host}]" if ":" in host else host
        try:
            bound = server.add_insecure_port(f"{place}:{port}")
        except RuntimeError as error:
            raise UsageError(f"{place}:{port} cannot be bound: is it in use?") from error
        await server.start()
        self._server = server
        self._address = f"{place}:{bound}"
        return self._address

    def open(
        self,
        session: Session,
        *,
        pool: Tensor | None = None,
        seed: int = 0,
        defense: str | None = None,
        seconds: float | None = None,
    ) -> str:
        """Serve a session and return its token, a password for this match that nobody else may see.

        ``pool`` (M, *shape), ``seed`` and ``defense`` (its spec as JSON) are told to whoever joins; after ``seconds``
        the token is worth nothing. Raises `BadParameter` if a call of the session is larger than a message may be.
        """
        largest = message_bytes(session.terms)
        if largest > self._max_message_bytes:
            raise BadParameter(f"calls of up to {largest} bytes, the server takes {self._max_message_bytes}")
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        hashed = _hash(token)
        self._hosted[hashed] = _Hosted(
            session=session,
            token_hash=hashed,
            pool=pool,
            seed=seed,
            defense=defense,
            ends_at=None if seconds is None else time.monotonic() + seconds,
        )
        return token

    async def clone(self, token: str) -> bytes:
        """Wait until a clone is handed back and return its bytes, which nobody has looked at yet."""
        hosted = self._find(token)
        await hosted.handed_back.wait()
        assert hosted.clone is not None
        return hosted.clone

    async def close(self, token: str) -> Transcript:
        """Close the session and revoke the token. Raises what `Session.close` raises; it can be repeated then."""
        hosted = self._find(token)
        transcript = await self.beside(hosted.session.close)
        del self._hosted[hosted.token_hash]
        return transcript

    async def stop(self) -> None:
        """Answer no more; sessions that are open stay open, their ledgers as they are."""
        if self._server is not None:
            await self._server.stop(_STOP_SECONDS)
        self._forwards.shutdown()

    @property
    def max_message_bytes(self) -> int:
        return self._max_message_bytes

    @property
    def max_clone_bytes(self) -> int:
        return self._max_clone_bytes

    def authorised(self, context: grpc.aio.ServicerContext) -> _Hosted:
        """Return the match that a call is for. Raises `NotAuthorised`, in the same words whatever is wrong."""
        metadata = dict(context.invocation_metadata() or ())
        scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
        hosted = self._find(token if scheme == "Bearer" else "")
        if hosted.seconds_left is not None and hosted.seconds_left <= 0:
            raise NotAuthorised(_NOT_AUTHORISED)
        return hosted

    async def beside(self, work: Callable[[], _Value]) -> _Value:
        """Do ``work`` in the thread of forwards, after what waits there already."""
        return await asyncio.get_running_loop().run_in_executor(self._forwards, work)

    def play_honest(self, session: Session) -> None:
        """Have the honest calls that are due played, without waiting for them: the next query does."""
        self._forwards.submit(_play_honest, session)

    def _find(self, token: str) -> _Hosted:
        hashed = _hash(token)
        hosted = self._hosted.get(hashed)
        if hosted is None or not hmac.compare_digest(hosted.token_hash, hashed):
            raise NotAuthorised(_NOT_AUTHORISED)
        return hosted


_NOT_AUTHORISED = "no token, a wrong one, or one whose match has ended"


def _told(
    handler: Callable[[_Servicer, _Request, grpc.aio.ServicerContext], Awaitable[_Response]],
) -> Callable[[_Servicer, _Request, grpc.aio.ServicerContext], Awaitable[_Response]]:
    """Turn whatever a handler raises into a status: the one place where the wire learns of errors."""

    @functools.wraps(handler)
    async def told(self: _Servicer, request: _Request, context: grpc.aio.ServicerContext) -> _Response:
        try:
            return await handler(self, request, context)
        except Exception as error:
            if not isinstance(error, ArenaError) or isinstance(error, ArenaFault):
                _log.exception("a call failed through our fault")
            status = to_status(error)
            await context.abort(status.code, status.details, trailing_metadata=status.metadata)
            raise

    return told


class _OracleService(oracle_pb2_grpc.OracleServiceServicer):
    def __init__(self, server: OracleServer) -> None:
        self._server = server

    @_told
    async def Describe(
        self, request: oracle_pb2.DescribeRequest, context: grpc.aio.ServicerContext
    ) -> oracle_pb2.DescribeResponse:
        session = self._server.authorised(context).session
        return terms_to_message(session.terms, remaining=session.remaining, max_bytes=self._server.max_message_bytes)

    @_told
    async def Query(
        self, request: oracle_pb2.QueryRequest, context: grpc.aio.ServicerContext
    ) -> oracle_pb2.QueryResponse:
        session = self._server.authorised(context).session
        response = await self._server.beside(functools.partial(_answer, session, request))
        if session.honest_waits:
            self._server.play_honest(session)
        return response


class _MatchService(match_pb2_grpc.MatchServiceServicer):
    def __init__(self, server: OracleServer) -> None:
        self._server = server

    @_told
    async def Join(self, request: match_pb2.JoinRequest, context: grpc.aio.ServicerContext) -> match_pb2.JoinResponse:
        hosted = self._server.authorised(context)
        return match_pb2.JoinResponse(
            pool_rows=0 if hosted.pool is None else len(hosted.pool),
            max_rows=self._pool_rows(hosted),
            seconds_left=hosted.seconds_left,
            seed=hosted.seed,
            defense=hosted.defense,
            max_clone_bytes=self._server.max_clone_bytes,
        )

    @_told
    async def FetchPool(
        self, request: match_pb2.FetchPoolRequest, context: grpc.aio.ServicerContext
    ) -> match_pb2.FetchPoolResponse:
        hosted = self._server.authorised(context)
        rows = 0 if hosted.pool is None else len(hosted.pool)
        if hosted.pool is None or request.first_row >= rows:
            raise InvalidQuery(f"the pool has {rows} rows, none is number {request.first_row}")
        chosen = hosted.pool[request.first_row : request.first_row + self._pool_rows(hosted)]
        return match_pb2.FetchPoolResponse(inputs=tensor_to_message(chosen, compact=True))

    @_told
    async def HandBack(
        self, request: AsyncIterator[match_pb2.HandBackRequest], context: grpc.aio.ServicerContext
    ) -> match_pb2.HandBackResponse:
        hosted = self._server.authorised(context)
        clone = bytearray()
        async for part in request:
            clone += part.chunk
            if len(clone) > self._server.max_clone_bytes:
                raise AttackFault(f"a clone has at most {self._server.max_clone_bytes} bytes")
        hosted.clone = bytes(clone)
        hosted.handed_back.set()
        return match_pb2.HandBackResponse()

    def _pool_rows(self, hosted: _Hosted) -> int:
        return rows_that_fit(hosted.session.terms.task.shape, max_bytes=self._server.max_message_bytes)


class ServerThread:
    """An `OracleServer` in a thread of its own, for code without an event loop; a context manager."""

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, *, exposed: bool = False, max_message_bytes: int = 16 << 20
    ) -> None:
        self._server = OracleServer(max_message_bytes=max_message_bytes)
        self._start = functools.partial(self._server.start, host, port, exposed=exposed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="oracle server", daemon=True)

    def __enter__(self) -> ServerThread:
        self._thread.start()
        try:
            self._run(self._start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._server.stop())
        self._end()

    @property
    def address(self) -> str:
        return self._server.address

    def open(
        self,
        session: Session,
        *,
        pool: Tensor | None = None,
        seed: int = 0,
        defense: str | None = None,
        seconds: float | None = None,
    ) -> str:
        """See `OracleServer.open`."""

        async def opened() -> str:
            return self._server.open(session, pool=pool, seed=seed, defense=defense, seconds=seconds)

        return self._run(opened())

    def clone(self, token: str, *, timeout: float | None = None) -> bytes:
        """See `OracleServer.clone`. Raises TimeoutError when ``timeout`` seconds are over."""
        return self._run(asyncio.wait_for(self._server.clone(token), timeout))

    def close(self, token: str) -> Transcript:
        """See `OracleServer.close`."""
        return self._run(self._server.close(token))

    def _run(self, work: Awaitable[_Value]) -> _Value:
        async def awaited() -> _Value:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _answer(session: Session, request: oracle_pb2.QueryRequest) -> oracle_pb2.QueryResponse:
    answer = session.query(request.request_id, query_from_message(request))
    return answer_to_message(answer, remaining=session.remaining)


def _play_honest(session: Session) -> None:
    try:
        session.play_honest()
    except ArenaFault:
        _log.exception("honest calls wait for the next query")


def _hash(token: str) -> bytes:
    return hashlib.blake2b(token.encode(), digest_size=32).digest()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
