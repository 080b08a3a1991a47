"""Processes with ``arena`` imported from the start: forked from a server that imported it, once for a test run.

For tests of what lies between two processes: a wire, a lock, a file that one leaves when it is killed. What a fresh
interpreter imports and prints is tested by starting one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import TextIO

from arena.cli.main import main

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["pytest", "arena.cli.main", "sklearn.datasets", "torch._dynamo"])


@dataclass(frozen=True, kw_only=True)
class Forked:
    """A process and what it prints."""

    process: ForkServerProcess
    out: TextIO
    err: TextIO

    @property
    def pid(self) -> int:
        assert self.process.pid is not None, "it was started"
        return self.process.pid

    def ended(self) -> int:
        """Wait for its end, and return its exit code: minus the signal, if it was killed by one."""
        self.process.join()
        assert self.process.exitcode is not None, "it has ended"
        return self.process.exitcode


@contextlib.contextmanager
def forked(function: Callable[..., None], *arguments: object) -> Iterator[Forked]:
    """Call a function of a module in a process of its own, which is ended on leaving."""
    (out, out_there), (err, err_there) = _SERVER.Pipe(duplex=False), _SERVER.Pipe(duplex=False)
    process = _SERVER.Process(target=_call, args=(out_there, err_there, function, arguments), daemon=True)
    process.start()
    out_there.close()
    err_there.close()
    with open(_descriptor(out)) as printed, open(_descriptor(err)) as complained:
        try:
            yield Forked(process=process, out=printed, err=complained)
        finally:
            process.kill()
            process.join()


def command(arguments: list[str], environment: dict[str, str]) -> None:
    """Run ``arena`` with arguments; `forked` calls it."""
    os.environ.update(environment)
    sys.argv = ["arena", *arguments]
    main()


def _call(out: Connection, err: Connection, function: Callable[..., None], arguments: tuple[object, ...]) -> None:
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    out.close()
    err.close()
    with open(1, "w", closefd=False) as printed, open(2, "w", closefd=False) as complained:
        sys.stdout, sys.stderr = printed, complained  # the server's were made for files, and these are pipes
        function(*arguments)


def _descriptor(connection: Connection) -> int:
    """Take a connection's descriptor out of it, to be read as a file."""
    descriptor = os.dup(connection.fileno())
    connection.close()
    return descriptor
