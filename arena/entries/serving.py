"""Serves an oracle to one sandbox, over a Unix socket that only its folder leads to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from arena.contracts import Oracle
from arena.oracle.relayed import RelayedSession
from arena.rpc.server import OracleServer

_ANYONE = 0o666  # to connect one must be allowed to write; the folder above is closed to everybody else


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server and the token of its only match."""

    server: OracleServer
    token: str

    @property
    def handed_back(self) -> bytes | None:
        """The last valid clone that came back over the wire, if any."""
        try:
            return self.server.clone(self.token, timeout=0)
        except TimeoutError:
            return None


@contextlib.contextmanager
def oracle_served(
    oracle: Oracle, socket: Path, *, pool: Tensor, seed: int, seconds: float, defense: str | None
) -> Iterator[Served]:
    """Serve ``oracle`` at ``socket`` for ``seconds``."""
    server = OracleServer(max_concurrent_calls=8)
    try:
        server.start(f"unix:{socket}")
        socket.chmod(_ANYONE)
        token = server.open(RelayedSession(oracle), pool=pool, attack_seed=seed, defense=defense, seconds=seconds)
        yield Served(server=server, token=token)
    finally:
        server.stop()
