"""What a sandbox promises, and whether it holds on this machine: each promise is tried by a program that breaks it."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from arena.contracts import SandboxUnavailable
from arena.sandbox import probe_inside
from arena.sandbox.bubblewrap import cure
from arena.sandbox.interpreter import BASE, interpreter
from arena.sandbox.job import MIB, BoxLimits, Ended, Ending, Job, Mount, Sandbox
from arena.sandbox.seccomp import clone_call, denied_calls

PROBE = "/probe/probe.py"
LIMITS = BoxLimits(
    memory_bytes=256 * MIB,
    processes=32,
    cpu_seconds=1.0,
    wall_seconds=20.0,
    scratch_bytes=32 * MIB,
    shared_bytes=16 * MIB,
    file_bytes=64 * MIB,
    open_files=128,
    output_bytes=4 * MIB,
)
"""Small limits, so that what passes them is ended soon."""

SLEEP_SECONDS = 0.5  # of wall time, for a program that sleeps on


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A promise, what was tried against it, and whether it held."""

    promise: str
    holds: bool
    detail: str


def works(sandbox: Sandbox) -> None:
    """Run nothing in a sandbox. Raises `SandboxUnavailable`, with the reason and what to do, if not even that works."""
    ended = sandbox.start(Job(argv=("/bin/true",), limits=LIMITS)).wait()
    if not ended.well:
        said = ended.output.strip() or ended.reason
        advice = cure(said)
        message = f"{sandbox.name} does not work on this machine: {said}{f'. {advice}' if advice else ''}"
        raise SandboxUnavailable(message)


def try_all(sandbox: Sandbox) -> list[Tried]:
    """Try every promise and return the outcomes. Raises `SandboxUnavailable` if no sandbox starts at all."""
    works(sandbox)
    return [
        _refused(sandbox, "no network", "connections, packets, names, sockets of the host", _at_the_network),
        _refused(
            sandbox,
            "no files but its own",
            "reading the host's files, writing to mounts",
            partial(_probed, what="files"),
        ),
        _refused(sandbox, "no other processes", "seeing them", partial(_probed, what="processes")),
        _refused(sandbox, "no rare system calls", "calling them, making namespaces", _at_the_kernel),
        _refused(sandbox, "no rights", "being root, having capabilities", partial(_probed, what="rights")),
        _ended_by(sandbox, "bounded memory", "memory", "memory"),
        _ended_by(sandbox, "bounded CPU time", "cpu", "cpu time"),
        _ended_by(sandbox, "bounded wall time", "sleep", "wall time", wall_seconds=SLEEP_SECONDS),
        _ended_by(sandbox, "bounded output", "output", "output"),
        _counted(sandbox, "bounded disk", "disk", (LIMITS.scratch_bytes, LIMITS.shared_bytes), "bytes"),
        _counted(sandbox, "bounded processes", "forks", (LIMITS.processes,), "processes"),
        _counted(sandbox, "bounded open files", "descriptors", (LIMITS.open_files,), "files"),
        _nothing_left(sandbox),
    ]


def probe_job(*arguments: str, limits: BoxLimits = LIMITS) -> Job:
    """Return a job that runs the probe with these arguments, in Python without any packages."""
    python = interpreter()
    base = tuple(mount for mount in python.mounts if mount.inside == BASE)
    probe = Mount(host=Path(probe_inside.__file__), inside=PROBE)
    return Job(
        argv=(python.program, "-I", "-S", PROBE, *arguments),
        mounts=(*base, probe),
        environment=python.environment,
        limits=limits,
    )


def _refused(sandbox: Sandbox, promise: str, attempts: str, probe: Callable[[Sandbox], list[str]]) -> Tried:
    try:
        broken = probe(sandbox)
    except _ProbeFailedError as failure:
        return Tried(promise=promise, holds=False, detail=str(failure))
    return Tried(promise=promise, holds=not broken, detail="; ".join(broken) or f"tried: {attempts}")


def _ended_by(sandbox: Sandbox, promise: str, what: str, wanted: Ending, **limits: float) -> Tried:
    ended = sandbox.start(probe_job(what, limits=replace(LIMITS, **limits))).wait()  # type: ignore[arg-type]  # floats
    holds = ended.ending == wanted
    took = f"after {ended.wall_seconds:.1f} s"
    return Tried(
        promise=promise, holds=holds, detail=f"{ended.reason}, {took}" if holds else f"not ended: {ended.reason}"
    )


def _counted(sandbox: Sandbox, promise: str, what: str, most: tuple[int, ...], unit: str) -> Tried:
    try:
        found = [int(number) for number in _probed(sandbox, what=what)]
    except _ProbeFailedError as failure:
        return Tried(promise=promise, holds=False, detail=str(failure))
    holds = all(number <= limit for number, limit in zip(found, most, strict=True))
    shown = ", ".join(f"{number:,} of at most {limit:,} {unit}" for number, limit in zip(found, most, strict=True))
    return Tried(promise=promise, holds=holds, detail=shown)


def _nothing_left(sandbox: Sandbox) -> Tried:
    ended = sandbox.start(probe_job("daemon")).wait()
    holds = ended.well and ended.wall_seconds < LIMITS.wall_seconds
    detail = "a daemon ended with what had started it" if holds else f"a daemon stayed: {ended.reason}"
    return Tried(promise="nothing left behind", holds=holds, detail=detail)


def _at_the_network(sandbox: Sandbox) -> list[str]:
    """Probe the network while this process listens where the probe connects to."""
    with _listening() as (port, name):
        return _probed(sandbox, str(port), name, what="network")


def _at_the_kernel(sandbox: Sandbox) -> list[str]:
    denied: Mapping[str, int] = denied_calls()
    if not denied:
        return ["there is no filter for this kind of processor"]
    return _probed(sandbox, json.dumps(denied), str(clone_call()), what="kernel")


class _ProbeFailedError(Exception):
    """A probe ended without an answer."""


def _probed(sandbox: Sandbox, *arguments: str, what: str) -> list[str]:
    ended: Ended = sandbox.start(probe_job(what, *arguments)).wait()
    try:
        found = json.loads(ended.result)
    except ValueError as error:
        message = f"the probe gave no answer: {ended.reason} {ended.output}".strip()
        raise _ProbeFailedError(message) from error
    assert isinstance(found, list), "every probe prints a list"
    return found


@contextlib.contextmanager
def _listening() -> Iterator[tuple[int, str]]:
    """Listen on a port of the loopback interface and on an abstract socket, and yield both addresses."""
    name = f"arena-probe-{secrets.token_hex(8)}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("\0" + name)
        unix.listen()
        yield tcp.getsockname()[1], name
