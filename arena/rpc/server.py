"""Serves the oracles of many matches from one gRPC server, each match under a token of its own."""

from __future__ import annotations

import contextlib
import ipaddress
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from torch import Tensor

from arena.contracts import BadParameter, UsageError
from arena.oracle.meter import Meter
from arena.oracle.relayed import RelayedSession
from arena.oracle.session import Session
from arena.oracle.transcript import Transcript
from arena.rpc.calls import Calls
from arena.rpc.codec import message_bytes
from arena.rpc.hosting import HostedMatch, HostedMatches
from arena.rpc.services import MATCH_SERVICE, ORACLE_SERVICE, MatchService, OracleService
from arena.rpc.tls import ServerTls

_STOP_SECONDS = 1.0  # how long a stopping server waits for calls in flight, and for each of its thread pools
_SOCKET = "unix:"
_REFUSING_THREADS = 8  # besides the threads that answer, so that a refusal need not wait for an answer
_MAX_REFUSED_AT_ONCE = 1_024  # calls that wait to be refused; grpc refuses any more itself, without our reason
_GRPC_LIMIT = 2  # grpc's limit on a message, in units of ours; messages between the two are refused with our reason


class OracleServer:
    """A gRPC server with a thread for each of ``max_concurrent_calls``; any thread may call any method.

    A match can use at most ``max_concurrent_calls_a_match`` of them, and a clone that has not arrived completely after
    ``seconds_to_hand_back`` is refused, so that a client that leaves its streams half open does not hold up others.

    The calls of one match are answered one at a time; different matches and health checks run concurrently. The number
    of torch's threads is left to the process. ``max_message_bytes`` limits the messages of every hosted match. The
    server uses threads instead of an event loop, because a call with a single row then has fewer threads to wake.
    Calls that are refused before they reach their match's session are counted in ``meter``.
    """

    def __init__(
        self,
        *,
        max_message_bytes: int = 16 << 20,
        max_clone_bytes: int = 256 << 20,
        max_concurrent_calls: int = 64,
        max_concurrent_calls_a_match: int = 8,
        seconds_to_hand_back: float = 300.0,
        meter: Meter | None = None,
    ) -> None:
        self._max_message_bytes = max_message_bytes
        self._max_clone_bytes = max_clone_bytes
        self._max_concurrent_calls = max_concurrent_calls
        self._seconds_to_hand_back = seconds_to_hand_back
        self._matches = HostedMatches()
        self._admitted = Calls(
            self._matches,
            max_message_bytes=max_message_bytes,
            max_at_once=max_concurrent_calls,
            max_at_once_a_match=max_concurrent_calls_a_match,
            meter=meter or Meter(),
        )
        self._calls = ThreadPoolExecutor(
            max_workers=max_concurrent_calls + _REFUSING_THREADS, thread_name_prefix="oracle"
        )
        self._beside = ThreadPoolExecutor(max_workers=max_concurrent_calls, thread_name_prefix="honest traffic")
        self._server: grpc.Server | None = None
        self._address = ""

    @property
    def address(self) -> str:
        """The address to which clients connect: ``host:port`` or ``unix:PATH``."""
        return self._address

    def start(
        self, host: str = "127.0.0.1", port: int = 0, *, exposed: bool = False, tls: ServerTls | None = None
    ) -> str:
        """Listen, and return the address; port 0 means a free port, and ``unix:PATH`` as ``host`` a Unix socket.

        Raises `UsageError` if the port is in use, or if other machines can reach ``host`` and neither ``tls`` nor
        ``exposed`` is set: tokens would cross the network unencrypted.
        """
        if tls is None and not exposed and not _is_loopback(host):
            raise UsageError(
                f"other machines can reach {host}, and the connection is not encrypted; give a certificate with "
                "--tls-cert and --tls-key, or, to listen there anyway, add --insecure-bind (exposed=True)"
            )
        server = self._assembled()
        wanted = host if host.startswith(_SOCKET) else f"{_bracketed(host)}:{port}"
        try:
            bound = server.add_secure_port(wanted, tls.credentials) if tls else server.add_insecure_port(wanted)
        except RuntimeError as error:
            raise UsageError(f"the server cannot listen on {wanted}; is it in use? Choose another port") from error
        server.start()
        self._server = server
        self._address = host if host.startswith(_SOCKET) else f"{_bracketed(host)}:{bound}"
        return self._address

    def open(
        self,
        session: Session | RelayedSession,
        *,
        pool: Tensor | None = None,
        attack_seed: int = 0,
        defense: str | None = None,
        seconds: float | None = None,
        token: str | None = None,
    ) -> str:
        """Serve a session and return its token, a password for this match that nobody else may see.

        A client that joins is given ``pool`` (M, *shape), ``attack_seed`` and ``defense``, the defense's spec as JSON.
        The token expires after ``seconds``. After a restart, pass the old ``token``, because clients still use it.
        Raises `BadParameter` if a call of the session can be larger than a message may be.
        """
        largest = message_bytes(session.terms)
        if largest > self._max_message_bytes:
            raise BadParameter(
                f"a call of this match can have {largest} bytes, but the server allows {self._max_message_bytes} per "
                "message; raise max_message_bytes"
            )
        ends_at = None if seconds is None else time.monotonic() + seconds
        match = HostedMatch(session=session, pool=pool, attack_seed=attack_seed, defense=defense, ends_at=ends_at)
        return self._matches.add(match, token=token)

    def clone(self, token: str, *, timeout: float | None = None) -> bytes:
        """Wait until a valid clone is handed back, and return its bytes.

        Raises TimeoutError after ``timeout`` seconds.
        """
        match = self._matches.find(token)
        match.handed_back.wait(timeout)
        if match.clone is None:
            raise TimeoutError
        return match.clone

    def close(self, token: str) -> Transcript:
        """Close the session and revoke the token. If `Session.close` raises, this can be tried again."""
        session = self._matches.find(token).session
        assert isinstance(session, Session), "a relayed oracle is closed where it comes from"
        transcript = session.close()
        self._matches.remove(token)
        return transcript

    def stop(self) -> None:
        """Stop answering calls; open sessions stay open, and their ledgers are not touched."""
        if self._server is not None:
            self._server.stop(_STOP_SECONDS).wait()
        for pool in (self._calls, self._beside):
            ending = threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": True}, daemon=True)
            ending.start()
            ending.join(_STOP_SECONDS)  # with a limit, because a defense may hang

    def _assembled(self) -> grpc.Server:
        """Return the server with its limits and services, not yet listening anywhere."""
        server = grpc.server(
            self._calls,
            options=[
                ("grpc.so_reuseport", 0),  # otherwise two servers could share a port without noticing
                ("grpc.max_receive_message_length", _GRPC_LIMIT * self._max_message_bytes),
                ("grpc.max_send_message_length", self._max_message_bytes),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
                ("grpc.http2.max_ping_strikes", 2),
            ],
            maximum_concurrent_rpcs=self._max_concurrent_calls + _MAX_REFUSED_AT_ONCE,
        )
        oracle = OracleService(self._admitted, self._beside)
        match = MatchService(
            self._admitted,
            max_clone_bytes=self._max_clone_bytes,
            seconds_to_hand_back=self._seconds_to_hand_back,
        )
        server.add_generic_rpc_handlers((oracle.handlers(), match.handlers()))
        checks = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        services = (ORACLE_SERVICE, MATCH_SERVICE)
        for service in ("", *services):
            checks.set(service, health_pb2.HealthCheckResponse.SERVING)
        reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        return server


@contextlib.contextmanager
def serving(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    exposed: bool = False,
    tls: ServerTls | None = None,
    server: OracleServer | None = None,
) -> Iterator[OracleServer]:
    """Start ``server``, or one with default limits, and stop it at the end. Raises what `OracleServer.start` raises."""
    server = server or OracleServer()
    try:
        server.start(host, port, exposed=exposed, tls=tls)
        yield server
    finally:
        server.stop()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith(_SOCKET)
