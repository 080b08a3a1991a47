"""Sandboxes made by bubblewrap: namespaces without a network, a filter of system calls, and a control group.

Started by root, the program runs as a user that owns nothing, in no user namespace. Started by another user, it runs in
a user namespace, in which no further one can be made. In both cases it sees read-only the system's programs and
libraries and what its job mounts, and writes to folders in memory, of limited sizes.
"""

from __future__ import annotations

import functools
import math
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from arena.contracts import SandboxUnavailable
from arena.sandbox.cgroups import Parents, find_parents, remove_left_over
from arena.sandbox.job import BoxLimits, Job, Mount
from arena.sandbox.seccomp import filter_program
from arena.sandbox.warden import Warden

PROGRAM = "bwrap"
HOST = "arena"  # the name of the machine inside
NOBODY = 65534
OWN_USERS = range(20_000, 60_000)  # one is drawn for each sandbox, so that two share nothing, not even limits
_SYSTEM = ("lib", "lib64", "lib32", "bin", "sbin")  # on most systems links into /usr
_ARGUMENTS, _FILTER = "{arguments}", "{filter}"  # stand for descriptors from which bubblewrap reads
_PASSED = (*(("--seccomp", _FILTER) if filter_program() is not None else ()), "--args", _ARGUMENTS)

_CURES = {
    "setting up uid map: Permission denied": "user namespaces are restricted by AppArmor, as on Ubuntu since 23.10: allow "
    "them for bwrap alone, by an AppArmor profile for it with the rule `userns,` (Ubuntu 25.04 has one, named bwrap-userns-"
    "restrict), and not for all programs",
    "Failed RTM_NEWADDR": "user namespaces are restricted by AppArmor, as on Ubuntu since 23.10: allow them for bwrap "
    "alone, by an AppArmor profile for it with the rule `userns,`, and not for all programs; a sandbox with the "
    "machine's network is none",
    "Creating new namespace failed": "namespaces are forbidden here, as in a container by default: run it with "
    "--security-opt seccomp=unconfined --security-opt apparmor=unconfined (in Kubernetes with seccompProfile: Unconfined), "
    "after which the container itself holds back less, or run arena outside the container",
    "No permissions to create": "user namespaces are switched off here: the machine's administrator can allow them, or run "
    "arena as root",
    "Can't mount proc": "the container that this runs in hides parts of /proc: run it with --security-opt "
    "systempaths=unconfined, or run arena outside the container",
}
"""What to do about what bubblewrap says, by what its message contains."""


@dataclass(frozen=True, kw_only=True)
class Bubblewrap:
    """The sandbox that is used by default."""

    name: str = "bubblewrap"
    parents: Parents = field(default_factory=find_parents)
    as_root: bool = field(default_factory=lambda: os.geteuid() == 0)

    def start(self, job: Job) -> Warden:
        """See `arena.sandbox.job.Sandbox`."""
        if shutil.which(PROGRAM) is None:
            message = f"{PROGRAM} is not installed; Debian and Ubuntu have it in the package bubblewrap"
            raise SandboxUnavailable(message)
        _remove_left_over(self.parents)
        # The arguments hold a match's token, so they are not shown in the list of processes.
        arguments = {_ARGUMENTS: "\0".join(self._arguments(job)).encode(), _FILTER: filter_program() or b""}
        return Warden(
            (*self._limited(job.limits), PROGRAM, *_PASSED, "--", *self._lowered(), *job.argv),
            group=self.parents.make(job.limits),
            limits=job.limits,
            stdin=job.stdin,
            descriptors=arguments,
        )

    def _limited(self, limits: BoxLimits) -> tuple[str, ...]:
        """Return the program that sets the limits of single processes, for what no group bounds as a whole."""
        seconds = math.ceil(limits.cpu_seconds) + self.parents.bounds("cpuacct")  # the group's own limit comes first
        bounds: dict[str, int | str] = {
            "core": 0,
            "nofile": limits.open_files,
            "fsize": limits.file_bytes,
            "cpu": f"{seconds}:{seconds + 1}",
        }
        if not self.parents.bounds("memory"):
            bounds["as"] = limits.memory_bytes
        if self.as_root and not self.parents.bounds("pids"):
            bounds["nproc"] = limits.processes
        return ("prlimit", *(f"--{name}={value}" for name, value in bounds.items()), "--")

    def _arguments(self, job: Job) -> Iterator[str]:
        yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
        if not self.as_root:
            yield from ("--unshare-user", "--disable-userns", "--uid", str(NOBODY), "--gid", str(NOBODY))
        # Not --as-pid-1: the first process must be bubblewrap's own, which dies with its parent whatever the program does.
        yield from ("--die-with-parent", "--new-session", "--hostname", HOST, "--clearenv")
        yield from ("--cap-drop", "ALL")
        if self.as_root:
            yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP")
        yield from _system()
        yield from ("--proc", "/proc", "--dev", "/dev")
        for folder, size in (("/tmp", job.limits.scratch_bytes), ("/dev/shm", job.limits.shared_bytes)):
            yield from ("--perms", "1777", "--size", str(size), "--tmpfs", folder)
        for folder in _parents(job.mounts):  # which bubblewrap itself would make for root alone
            yield from ("--perms", "0755", "--dir", folder)
        for mount in job.mounts:  # after /tmp, because a mount may be below it
            yield from ("--ro-bind", str(mount.host), mount.inside)
        for folder in job.hidden:
            yield from ("--tmpfs", folder, "--remount-ro", folder)
        yield from ("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", job.folder)
        for name, value in {"PATH": "/usr/bin:/bin", "HOME": "/tmp", **job.environment}.items():
            yield from ("--setenv", name, value)

    def _lowered(self) -> tuple[str, ...]:
        """Return the program that gives up root for a user that owns nothing, and every capability for good."""
        if not self.as_root:
            return ()
        user = str(secrets.choice(OWN_USERS))
        identity = ("--reuid", user, "--regid", user, "--clear-groups")
        return ("/usr/bin/setpriv", *identity, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")


def cure(output: str) -> str:
    """Return what to do about an error of bubblewrap, or an empty string if it is not known."""
    return next((words for text, words in _CURES.items() if text in output), "")


def _parents(mounts: Iterable[Mount]) -> list[str]:
    """Return the folders above mounts, the outermost first, except those in other mounts."""
    inside = {mount.inside for mount in mounts}
    found = {str(parent) for name in inside for parent in list(PurePosixPath(name).parents)[:-1]}
    return sorted(one for one in found if not any(one == other or one.startswith(f"{other}/") for other in inside))


def _system() -> Iterator[str]:
    """Yield what makes the system's programs and libraries visible, and nothing of /etc, /home, /root or /var."""
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _SYSTEM:
        path = f"/{name}"
        if os.path.islink(path):  # noqa: PTH114  # not what it points to
            yield from ("--symlink", os.readlink(path), path)  # noqa: PTH115
        elif os.path.isdir(path):  # noqa: PTH112
            yield from ("--ro-bind", path, path)


@functools.cache
def _remove_left_over(parents: Parents) -> int:
    """Remove what processes that were killed left here; once is enough for a process."""
    return remove_left_over(parents)
