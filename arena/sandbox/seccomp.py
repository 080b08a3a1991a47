"""The filter of system calls in a sandbox: those that open the kernel's seldom used parts fail with an error.

The filter is a program of the classic Berkeley packet filter, as in the kernel's ``Documentation/userspace-api/
seccomp_filter.rst``; the numbers of the calls are those of the kernel's headers.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# Opcodes of the filter's language, and its answers.
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000

# Offsets in the kernel's ``struct seccomp_data``; arguments are read by their lower half.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24

_X32_CALLS = 0x40000000  # calls of the x32 interface, which no program here needs
_NEW_NAMESPACES = 0x7E020080  # the flags CLONE_NEW* of clone
_SOCKETS = {
    "unix": 1,
    "inet": 2,
    "inet6": 10,
}  # the families that may be opened; there is no network behind the last two
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: typing into the terminal that started the sandbox


@dataclass(frozen=True, kw_only=True)
class _Machine:
    audit: int  # AUDIT_ARCH_*
    clone: int
    clone3: int
    socket: int
    ioctl: int
    denied: Mapping[str, int]


_SAME_EVERYWHERE = {
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "mount_setattr": 442, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "process_madvise": 440, "quotactl_fd": 443, "pidfd_getfd": 438,
}  # fmt: skip
_X86_64 = {
    "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "bpf": 321,
    "perf_event_open": 298, "userfaultfd": 323, "keyctl": 250, "add_key": 248, "request_key": 249, "ptrace": 101,
    "process_vm_readv": 310, "process_vm_writev": 311, "kexec_load": 246, "kexec_file_load": 320, "init_module": 175,
    "finit_module": 313, "delete_module": 176, "open_by_handle_at": 304, "name_to_handle_at": 303, "quotactl": 179,
    "swapon": 167, "swapoff": 168, "reboot": 169, "acct": 163, "syslog": 103, "settimeofday": 164,
    "clock_settime": 227, "clock_adjtime": 305, "adjtimex": 159, "personality": 135, "lookup_dcookie": 212,
    "vmsplice": 278, "modify_ldt": 154, "iopl": 172, "ioperm": 173, "kcmp": 312, "fanotify_init": 300,
    "nfsservctl": 180,
}  # fmt: skip
_AARCH64 = {
    "unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "bpf": 280,
    "perf_event_open": 241, "userfaultfd": 282, "keyctl": 219, "add_key": 217, "request_key": 218, "ptrace": 117,
    "process_vm_readv": 270, "process_vm_writev": 271, "kexec_load": 104, "kexec_file_load": 294, "init_module": 105,
    "finit_module": 273, "delete_module": 106, "open_by_handle_at": 265, "name_to_handle_at": 264, "quotactl": 60,
    "swapon": 224, "swapoff": 225, "reboot": 142, "acct": 89, "syslog": 116, "settimeofday": 170,
    "clock_settime": 112, "clock_adjtime": 266, "adjtimex": 171, "personality": 92, "lookup_dcookie": 18,
    "vmsplice": 75, "kcmp": 272, "fanotify_init": 262, "nfsservctl": 42,
}  # fmt: skip

_MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E, clone=56, clone3=435, socket=41, ioctl=16, denied={**_SAME_EVERYWHERE, **_X86_64}
    ),
    "aarch64": _Machine(
        audit=0xC00000B7, clone=220, clone3=435, socket=198, ioctl=29, denied={**_SAME_EVERYWHERE, **_AARCH64}
    ),
}


def filter_program(machine: str = "") -> bytes | None:
    """Return the filter for a kind of processor, by default this one's; None if there is no table for it."""
    known = _MACHINES.get(machine or platform.machine())
    return b"".join(struct.pack("<HBBI", *one) for one in _instructions(known)) if known else None


def denied_calls(machine: str = "") -> Mapping[str, int]:
    """Return the numbers of the calls that always fail with EPERM, by name."""
    known = _MACHINES.get(machine or platform.machine())
    return known.denied if known else {}


def clone_call(machine: str = "") -> int:
    """Return the number of the call that makes processes and, with flags that the filter forbids, namespaces."""
    return _MACHINES[machine or platform.machine()].clone


def _instructions(machine: _Machine) -> Iterator[tuple[int, int, int, int]]:
    """Yield instructions (opcode, steps to jump if true, if false, operand)."""
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _JUMP_IF_EQUAL, 1, 0, machine.audit
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    yield from _fail_if(_JUMP_IF_AT_LEAST, _X32_CALLS, errno.ENOSYS)
    for number in sorted(machine.denied.values()):
        yield from _fail_if(_JUMP_IF_EQUAL, number, errno.EPERM)
    yield from _fail_if(_JUMP_IF_EQUAL, machine.clone3, errno.ENOSYS)  # the C library then uses clone, checked below
    yield from _argument_check(machine.clone, _FIRST_ARGUMENT, _fail_if(_JUMP_IF_ANY_BIT, _NEW_NAMESPACES, errno.EPERM))
    injected = [one for code in _TERMINAL_INJECTION for one in _fail_if(_JUMP_IF_EQUAL, code, errno.EPERM)]
    yield from _argument_check(machine.ioctl, _SECOND_ARGUMENT, iter(injected))
    yield from _argument_check(machine.socket, _FIRST_ARGUMENT, _other_sockets_fail())
    yield _RETURN, 0, 0, _ALLOW


def _fail_if(condition: int, operand: int, number: int) -> Iterator[tuple[int, int, int, int]]:
    yield condition, 0, 1, operand
    yield _RETURN, 0, 0, _FAIL | number


def _other_sockets_fail() -> Iterator[tuple[int, int, int, int]]:
    families = sorted(_SOCKETS.values())
    for place, family in enumerate(families):
        yield _JUMP_IF_EQUAL, len(families) - place, 0, family  # over the failure
    yield _RETURN, 0, 0, _FAIL | errno.EAFNOSUPPORT


def _argument_check(
    call: int, offset: int, checks: Iterator[tuple[int, int, int, int]]
) -> Iterator[tuple[int, int, int, int]]:
    """Yield a block that is skipped for other calls; it ends with an answer, because it overwrites the call's number."""
    block = list(checks)
    yield _JUMP_IF_EQUAL, 0, len(block) + 2, call
    yield _LOAD, 0, 0, offset
    yield from block
    yield _RETURN, 0, 0, _ALLOW
