"""Control groups, which bound and count what all processes of a sandbox use together: version 1, version 2, or none."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from arena.sandbox.job import BoxLimits

ROOT = Path("/sys/fs/cgroup")
PREFIX = "arena-"
_OWN = Path("/proc/self/cgroup")
_CONTROLLERS = ("memory", "pids", "cpuacct")
_EMPTY_SECONDS = 10.0  # until the kernel has ended every killed process
_PAUSE_SECONDS = 0.002

Version = Literal["v1", "v2", "none"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Parents:
    """The folders in which groups can be made, by controller; what is missing cannot be bounded here."""

    version: Version
    folders: Mapping[str, Path]

    def bounds(self, what: Literal["memory", "pids", "cpuacct"]) -> bool:
        """Whether memory, the number of processes, or CPU time can be bounded for a sandbox as a whole."""
        return what in self.folders

    def make(self, limits: BoxLimits) -> Group:
        """Return a new group with these limits, which is empty."""
        name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
        folders = {kind: folder / name for kind, folder in self.folders.items()}
        for folder in set(folders.values()):
            folder.mkdir()
        group = Group(version=self.version, folders=folders)
        group.limit(limits)
        return group


@dataclass(frozen=True, kw_only=True)
class Group:
    """The group of one sandbox; a process enters it by writing 0 to each of ``doors``."""

    version: Version
    folders: Mapping[str, Path]

    @property
    def doors(self) -> tuple[Path, ...]:
        return tuple(sorted({folder / "cgroup.procs" for folder in self.folders.values()}))

    def limit(self, limits: BoxLimits) -> None:
        if "memory" in self.folders:
            files = (
                ("memory.max",) if self.version == "v2" else ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
            )
            for name in files:
                self._write("memory", name, str(limits.memory_bytes))
            if self.version == "v2":
                self._write("memory", "memory.swap.max", "0")
        if "pids" in self.folders:
            self._write("pids", "pids.max", str(limits.processes))

    def cpu_seconds(self) -> float | None:
        """Return the CPU time that everything in the group has used, or None if it is not counted here."""
        if self.version == "v2":
            used = self._value("cpuacct", "cpu.stat", "usage_usec")
            return None if used is None else used / 1e6
        text = self._read("cpuacct", "cpuacct.usage")
        return int(text) / 1e9 if text else None

    def peak_bytes(self) -> int | None:
        """Return the most memory that the group has used at once, or None if it is not counted here."""
        text = self._read("memory", "memory.peak" if self.version == "v2" else "memory.max_usage_in_bytes")
        return int(text) if text else None

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process of the group because the group's memory was full."""
        name = "memory.events" if self.version == "v2" else "memory.oom_control"
        return bool(self._value("memory", name, "oom_kill"))

    def processes(self) -> list[int]:
        """Return the processes in the group, as this process sees their numbers."""
        return sorted({int(line) for door in self.doors for line in _text(door).split()})

    def kill(self) -> None:
        """Kill every process in the group, without waiting for their end."""
        for folder in set(self.folders.values()):
            if self.version == "v2":
                self._write_to(folder / "cgroup.kill", "1")
        for process in self.processes():
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)

    def end(self) -> None:
        """Kill every process in the group, wait until it is empty, and remove it."""
        deadline = time.monotonic() + _EMPTY_SECONDS
        for folder in set(self.folders.values()):
            while (
                folder.is_dir() and time.monotonic() < deadline
            ):  # the kernel may need a moment after the last process
                self.kill()
                try:
                    folder.rmdir()
                except OSError:
                    time.sleep(_PAUSE_SECONDS)

    def _write(self, kind: str, name: str, text: str) -> None:
        self._write_to(self.folders[kind] / name, text)

    def _write_to(self, path: Path, text: str) -> None:
        """Write to one of the kernel's files, which an older kernel, or one without swap accounting, may not have."""
        with contextlib.suppress(FileNotFoundError):
            path.write_text(text)

    def _read(self, kind: str, name: str) -> str:
        return _text(self.folders[kind] / name).strip() if kind in self.folders else ""

    def _value(self, kind: str, name: str, key: str) -> int | None:
        """Return the number behind ``key`` in a file of lines "key number"."""
        pairs = (line.split() for line in self._read(kind, name).splitlines())
        return next((int(value) for found, value in pairs if found == key), None)


def find_parents(root: Path = ROOT, own: Path = _OWN) -> Parents:
    """Return where this process may make groups; ``root`` is where they are mounted, ``own`` lists this process's.

    The controllers of version 1 are preferred where both versions are mounted, because each of them is in one only.
    """
    places = dict(_place(line) for line in _text(own).splitlines() if line.count(":") >= 2)
    first: dict[str, Path] = {}
    for kind in (kind for kind in _CONTROLLERS if kind in places):
        folders = (root / kind / places[kind], root / kind)  # a container may see its own group as the root
        first.update((kind, folder) for folder in reversed(folders) if _may_make_in(folder))
    if first:
        return Parents(version="v1", folders=first)
    second = _second_version(root, places.get("", ""))
    return second or Parents(version="none", folders={})


def remove_left_over(parents: Parents) -> int:
    """End and remove the groups of processes that are gone, for example killed, and return their number."""
    names = {path.name for folder in parents.folders.values() for path in folder.glob(f"{PREFIX}*-*")}
    orphans = [name for name in names if not Path("/proc", name.removeprefix(PREFIX).partition("-")[0]).exists()]
    for name in orphans:
        Group(version=parents.version, folders={kind: at / name for kind, at in parents.folders.items()}).end()
    return len(orphans)


def _second_version(root: Path, own: str) -> Parents | None:
    """Return the nearest group above this process whose children have the controllers.

    A group that holds processes itself cannot give its children controllers, so this process's own seldom qualifies.
    """
    folder = root / own
    while folder == root or root in folder.parents:
        given = set(_text(folder / "cgroup.subtree_control").split())
        if {"memory", "pids"} <= given and _may_make_in(folder):
            return Parents(version="v2", folders=dict.fromkeys(_CONTROLLERS, folder))
        if folder == root:
            return None
        folder = folder.parent
    return None


def _place(line: str) -> tuple[str, str]:
    """Return the controller, "" for version 2, and the group in a line "number:controllers:/group"."""
    _, names, path = line.split(":", 2)
    chosen = next((name for name in names.split(",") if name in _CONTROLLERS), names)
    return chosen, path.lstrip("/")


def _may_make_in(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
