"""Which processes a process has started, and their processes: from /proc."""

from __future__ import annotations

import time
from pathlib import Path


def descendants(root: int) -> dict[int, str]:
    """The command lines of all processes below ``root``, by their ids."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it ended in the meantime
        if state != "Z":
            parents[int(stat.parent.name)] = int(parent)
    found: set[int] = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: title(pid) for pid in found - {root}}


def title(pid: int) -> str:
    """A process's command line; empty if there is none any more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def workers(root: int) -> list[int]:
    """Ray's processes below ``root`` that run an actor of ours."""
    return [pid for pid, line in descendants(root).items() if line.startswith(("ray::OracleHost", "ray::AttackSlot"))]


def left_of(started: dict[int, str], *, seconds: float) -> dict[int, str]:
    """Those that still run after ``seconds`` at the latest."""
    end = time.monotonic() + seconds
    while left := {pid: line for pid, line in started.items() if title(pid)}:
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    return left
