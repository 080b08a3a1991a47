"""What runs in a sandbox, within which limits, and how it ended: the interface that every kind of sandbox implements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

MIB = 2**20

Ending: TypeAlias = Literal["exited", "memory", "cpu time", "wall time", "output", "stopped"]
"""Why a program ended: by itself, because it passed a limit, or because it was no longer needed."""


@dataclass(frozen=True, kw_only=True)
class BoxLimits:
    """What everything that runs in one sandbox may use together, except ``file_bytes`` and ``open_files``."""

    memory_bytes: int = 4096 * MIB  # including the scratch folder, which is in memory
    processes: int = 256  # threads count too
    cpu_seconds: float = 3600.0
    wall_seconds: float = 3600.0
    scratch_bytes: int = 256 * MIB  # of /tmp
    shared_bytes: int = 64 * MIB  # of /dev/shm
    file_bytes: int = 256 * MIB  # of one file, wherever it is
    open_files: int = 1024  # of one process
    output_bytes: int = 4 * MIB  # on stderr; a program that writes more is ended
    kept_bytes: int = 64 * 1024  # of the output, from its beginning
    result_bytes: int = 320 * MIB  # on stdout


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A file or folder of the host that a program can read, and where it sees it."""

    host: Path
    inside: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """A program to run, with everything that it can see besides the system's own programs and libraries."""

    argv: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    hidden: tuple[str, ...] = ()  # folders inside mounts that are seen empty
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/tmp"  # where it starts  # the sandbox's own
    stdin: bytes = b""
    limits: BoxLimits = BoxLimits()


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a program ended and what it left: ``result`` is its stdout, ``output`` the beginning of its stderr."""

    ending: Ending
    code: int  # its exit code, negative for a signal
    result: bytes
    output: str
    wall_seconds: float
    cpu_seconds: float | None  # of all its processes; None: not known here
    peak_bytes: int | None  # of memory, all processes together; None: not known here

    @property
    def well(self) -> bool:
        """Whether the program ended by itself, without an error."""
        return self.ending == "exited" and self.code == 0

    @property
    def reason(self) -> str:
        """How it ended in words, as in "it used more memory than its limit"."""
        if self.ending == "exited":
            return f"it ended with exit code {self.code}"
        if self.ending == "stopped":
            return "it was stopped"
        return f"it used more {self.ending} than its limit"


class Box(Protocol):
    """A program that runs in a sandbox."""

    def wait(self) -> Ended:
        """Wait for the end of the program, enforce its limits, and return how it ended; nothing of it is left then."""

    def kill(self) -> None:
        """End the program with everything that it started; `wait` returns soon. Any thread may call this."""


class Sandbox(Protocol):
    """Starts programs in sandboxes of one kind, such as bubblewrap, gVisor or a container."""

    @property
    def name(self) -> str: ...

    def start(self, job: Job) -> Box:
        """Start a program. Raises `SandboxUnavailable` if this kind of sandbox does not work on this machine."""
