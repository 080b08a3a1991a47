"""Watches a program from outside: reads what it writes, enforces what the kernel does not, and ends all of it."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from arena.sandbox.cgroups import Group
from arena.sandbox.job import BoxLimits, Ended, Ending

_LOOK_SECONDS = 0.05  # between two looks at clocks
_CHUNK_BYTES = 1 << 16
_OUT_OF_CPU_TIME = 128 + signal.SIGXCPU  # as shells and sandboxes report the end by a signal

# The kernel ends a sandbox when the *thread* that started it ends, so one thread that lasts as long as the process
# starts them all.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starts sandboxes")

# A shell puts itself into the groups whose doors are its first argument, then becomes the program.
_ENTER = 'IFS="\n"; for door in $1; do echo 0 > "$door" || exit 125; done; shift; unset IFS; exec "$@"'


class Warden:
    """A program that was started inside a group, and what it has written so far; it is a `Box`."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        group: Group,
        limits: BoxLimits,
        stdin: bytes,
        descriptors: Mapping[str, bytes],
        clean: Callable[[], None] = lambda: None,
    ) -> None:
        """``descriptors`` are bytes that the program reads from a descriptor, whose number replaces the name in ``argv``.

        ``clean`` is called when nothing of the program is left.
        """
        self._group, self._limits, self._clean = group, limits, clean
        self._lock = threading.Lock()
        self._ending: Ending | None = None
        self._started = time.monotonic()
        entering = ("/bin/sh", "-c", _ENTER, "sh", "\n".join(map(str, group.doors)))
        try:
            self._process = _starter.submit(_start, (*entering, *argv), stdin, descriptors).result()
        except BaseException:
            group.end()
            clean()
            raise
        self._result, self._output, self._output_bytes = bytearray(), bytearray(), 0

    def wait(self) -> Ended:
        """See `arena.sandbox.job.Box`."""
        process = self._process
        assert process.stdout is not None, "it was started with pipes"
        assert process.stderr is not None, "it was started with pipes"
        try:
            with selectors.DefaultSelector() as pipes:
                pipes.register(process.stdout, selectors.EVENT_READ, self._take_result)
                pipes.register(process.stderr, selectors.EVENT_READ, self._take_output)
                while pipes.get_map():
                    for key, _ in pipes.select(_LOOK_SECONDS):
                        if not key.data(os.read(key.fd, _CHUNK_BYTES)):
                            pipes.unregister(key.fileobj)
                    self._look()
            while process.poll() is None:  # it closed its pipes, but goes on
                time.sleep(_LOOK_SECONDS)
                self._look()
            return self._ended(time.monotonic() - self._started)
        finally:
            self._end_all()

    def kill(self) -> None:
        """See `arena.sandbox.job.Box`."""
        self._end("stopped")

    def abandon(self) -> None:
        """End the program and remove what is left of it, without a report."""
        self.kill()
        self._process.wait()
        self._end_all()

    def _look(self) -> None:
        """End the program if it has used more time than it may."""
        if time.monotonic() - self._started > self._limits.wall_seconds:
            self._end("wall time")
        used = self._group.cpu_seconds()
        if used is not None and used > self._limits.cpu_seconds:
            self._end("cpu time")
        if self._ending is not None or self._process.poll() is not None:
            self._group.kill()  # so that nothing holds the pipes open

    def _take_result(self, data: bytes) -> bool:
        self._result += data
        if len(self._result) > self._limits.result_bytes:
            self._end("output")
        return bool(data)

    def _take_output(self, data: bytes) -> bool:
        self._output += data[: self._limits.kept_bytes - len(self._output)]
        self._output_bytes += len(data)
        if self._output_bytes > self._limits.output_bytes:
            self._end("output")
        return bool(data)

    def _end(self, ending: Ending) -> None:
        """Kill the program unless that was done before; the first reason counts."""
        with self._lock:
            if self._ending is None:
                self._ending = ending
                self._process.kill()

    def _ended(self, wall: float) -> Ended:
        code = self._process.wait()
        ending: Ending = self._ending or "exited"
        if ending == "exited" and self._group.out_of_memory():
            ending = "memory"
        elif ending == "exited" and code == _OUT_OF_CPU_TIME:
            ending = "cpu time"
        return Ended(
            ending=ending,
            code=code,
            result=bytes(self._result) if len(self._result) <= self._limits.result_bytes else b"",
            output=self._output.decode(errors="replace"),
            wall_seconds=wall,
            cpu_seconds=self._group.cpu_seconds(),
            peak_bytes=self._group.peak_bytes(),
        )

    def _end_all(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._group.end()
        self._clean()


def _start(argv: Sequence[str], stdin: bytes, descriptors: Mapping[str, bytes]) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, with only the files that it is given."""
    with contextlib.ExitStack() as files:
        given = {name: files.enter_context(_file(data)).fileno() for name, data in descriptors.items()}
        return subprocess.Popen(
            [str(given.get(one, one)) for one in argv],
            stdin=files.enter_context(_file(stdin)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=tuple(given.values()),
            start_new_session=True,
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
        )


def _file(data: bytes) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    file.write(data)
    file.seek(0)
    return file
