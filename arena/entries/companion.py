"""A sandbox that stays for a while and answers one message after another, over a socket of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import weakref
from collections.abc import Mapping

from arena.contracts.encoding import Json
from arena.entries.frames import BadFrame, Frame, receive, send
from arena.entries.stage import Stage, close_stage
from arena.sandbox.job import Box, BoxLimits, Ended, Sandbox

CALLS = "calls"  # the name of the socket
_ANYONE = 0o666
_LOOK_SECONDS = 0.1


class CompanionFailed(Exception):
    """The program inside raised an error, ended, or did not answer in time."""


class Companion:
    """A program of ours inside a sandbox, with an entry's code in it. One thread at a time may ask.

    It ends with `close`, or when nobody refers to it any more. ``stage`` is removed then.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        stage: Stage,
        what: str,
        request: Mapping[str, Json],
        *,
        limits: BoxLimits,
        seconds: float,
    ) -> None:
        """Start the program and wait until it is ready. Raises `CompanionFailed`, at the latest after ``seconds``."""
        self._running = _Running(stage)
        self._finalizer = weakref.finalize(self, _Running.end, self._running)
        with socket.socket(socket.AF_UNIX) as listening:
            path = stage.sockets / CALLS
            listening.bind(str(path))
            path.chmod(_ANYONE)
            listening.listen(1)
            listening.settimeout(_LOOK_SECONDS)
            self._running.start(sandbox.start(stage.job(what, request, limits=limits)))
            self._connection = self._accepted(listening, time.monotonic() + seconds)
        path.unlink()
        self._answer(seconds)

    def ask(self, frame: Frame, *, seconds: float) -> Frame:
        """Send a message and return the answer. Raises `CompanionFailed`, after which nothing can be asked any more."""
        self._connection.settimeout(seconds)
        try:
            send(self._connection, frame)
        except OSError as error:
            raise self._failed(error) from error
        return self._answer(seconds)

    def close(self) -> None:
        """End the program."""
        self._finalizer()

    @property
    def output(self) -> str:
        """What the program has printed; empty until it has ended."""
        ended = self._running.ended
        return ended.output if ended is not None else ""

    def _answer(self, seconds: float) -> Frame:
        self._connection.settimeout(seconds)
        try:
            frame = receive(self._connection)
        except TimeoutError as error:
            self.close()
            message = f"it did not answer within {seconds:g} s"
            raise CompanionFailed(message) from error
        except (BadFrame, OSError) as error:
            raise self._failed(error) from error
        if "error" in frame.about:
            self.close()
            message = f"{frame.about['error']}: {frame.about.get('message')}"
            raise CompanionFailed(message)
        return frame

    def _accepted(self, listening: socket.socket, deadline: float) -> socket.socket:
        while True:
            with contextlib.suppress(TimeoutError):
                connection, _ = listening.accept()
                self._running.connection = connection
                return connection
            if self._running.ended is not None or time.monotonic() > deadline:
                raise self._failed(None)

    def _failed(self, error: Exception | None) -> CompanionFailed:
        """Return why the program does not answer: how it ended, if it has."""
        self.close()
        ended = self._running.ended
        if ended is not None and ended.ending != "stopped":
            return CompanionFailed(ended.reason)
        return CompanionFailed(f"it sent no answer: {error}" if error is not None else "it did not start in time")


class _Running:
    """The parts of a companion that must be ended; it does not refer to the companion itself."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._box: Box | None = None
        self._watching: threading.Thread | None = None
        self.connection: socket.socket | None = None
        self.ended: Ended | None = None

    def start(self, box: Box) -> None:
        self._box = box
        self._watching = threading.Thread(target=self._watch, args=(box,), name="watches a sandbox", daemon=True)
        self._watching.start()

    def end(self) -> None:
        if self.connection is not None:
            self.connection.close()
        if self._box is not None and self._watching is not None:
            self._watching.join(_LOOK_SECONDS)  # a program that has just ended says how
            self._box.kill()
            self._watching.join()
        close_stage(self._stage)

    def _watch(self, box: Box) -> None:
        self.ended = box.wait()
