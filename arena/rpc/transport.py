"""Connects attack and oracle of a match over gRPC, although both are in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor

from arena.contracts import Oracle
from arena.match.attacking import Clock
from arena.oracle.session import Session
from arena.rpc.client import Connection, RemoteOracle
from arena.rpc.server import serving


@contextlib.contextmanager
def over_grpc(session: Session, pool: Tensor, clock: Clock) -> Iterator[Oracle]:
    """Serve ``session`` on a free port of the loopback interface, and yield a remote oracle that is connected to it."""
    with serving() as server:
        token = server.open(session, pool=pool)
        with Connection(server.address, token, time_left=clock) as connection:
            yield RemoteOracle(connection)
