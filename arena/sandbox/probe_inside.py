"""Runs inside a sandbox and tries to get out of it: prints, as JSON, what each attempt achieved.

Only the standard library may be imported here, because this file alone is mounted.
"""

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

SECRETS = ("/etc/shadow", "/etc/passwd", "/root", "/home", "/work", "/var/lib", "/proc/kcore", "/dev/mem", "/dev/vda")
WRITTEN = ("/x", "/usr/x", "/dev/x", "/proc/sys/kernel/hostname", "/probe/x")
BLOCK = 1 << 20
MANY = 20_000
TOO_LONG = 600.0  # seconds, of which a sandbox allows a few


def attempted(attempt: Callable[[], object]) -> str:
    """Return what an attempt achieved, as text, or an empty string if it was refused."""
    try:
        return str(attempt() or "")
    except (OSError, MemoryError):
        return ""


def opens(path: str) -> str:
    return attempted(
        lambda: f"{path} can be read" if (list(Path(path).iterdir()) if Path(path).is_dir() else _read(path)) else ""
    )


def _read(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(1)


def writes(path: str) -> str:
    def attempt() -> str:
        with Path(path).open("w") as file:
            file.write("x")
        return f"{path} can be written"

    return attempted(attempt)


def reaches(port: int, abstract: str) -> list[str]:
    def tcp(host: str, port: int) -> Callable[[], str]:
        def attempt() -> str:
            socket.create_connection((host, port), timeout=1).close()
            return f"{host}:{port} answers"

        return attempt

    def unix() -> str:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect("\0" + abstract)
        return "a socket of the host answers"

    def sends() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"x", ("192.0.2.1", 53))
        return "packets can be sent"

    def resolves() -> str:
        return f"names are resolved: {socket.getaddrinfo('example.org', 80)[0][4]}"

    return [attempted(one) for one in (tcp("127.0.0.1", port), tcp("192.0.2.1", 80), sends, resolves, unix)]


def sees_processes() -> list[str]:
    """Look for processes besides this one and the first, which is the sandbox's own and waits for the others' end."""
    seen = [
        name
        for name in (path.name for path in Path("/proc").iterdir())
        if name.isdecimal() and int(name) not in (1, os.getpid())
    ]
    with contextlib.suppress(OSError):
        os.kill(1, signal.SIGKILL)  # would end the sandbox, and this probe without an answer
    return [f"process {name} can be seen" for name in seen]


def calls(numbers: dict[str, int], clone: int) -> list[str]:
    """Try system calls with arguments that no kernel accepts: those that are denied fail with EPERM all the same."""
    system = ctypes.CDLL(None, use_errno=True)
    found = []
    for name, number in [*numbers.items(), ("clone(CLONE_NEWUSER)", clone)]:
        arguments = (0x10000000,) if number == clone else (-1, -1, -1, -1, -1)
        ctypes.set_errno(0)
        system.syscall(number, *arguments)
        if ctypes.get_errno() != errno.EPERM:
            found.append(f"{name} is not denied")
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()
        found.append("netlink sockets can be opened")
    except OSError:
        pass
    return found


def has_rights() -> list[str]:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    rights = [f"{name} is {status[name]}" for name in ("CapPrm", "CapEff", "CapBnd") if int(status[name], 16)]
    if os.getuid() == 0:
        rights.append("the user is root")
    if status.get("NoNewPrivs", "1").strip() != "1":
        rights.append("setuid programs would gain rights")
    return rights


def fills(folder: str) -> int:
    """Write to a folder until nothing more fits, and return the bytes written."""
    written = 0
    with contextlib.suppress(OSError):
        for number in range(1_000):
            with Path(folder, str(number)).open("wb") as file:
                for _ in range(16):
                    file.write(b"x" * BLOCK)
                    file.flush()
                    written += BLOCK
    return written


def forks() -> int:
    """Start processes until no more can be started, and return their number."""
    started = 0
    with contextlib.suppress(OSError):
        while started < MANY:
            if os.fork() == 0:
                time.sleep(TOO_LONG)
                os._exit(0)
            started += 1
    return started


def opened_files() -> int:
    held: list[int] = []
    with contextlib.suppress(OSError):
        while len(held) < MANY:
            held.append(os.open("/dev/null", os.O_RDONLY))
    count = len(held)
    for one in held:
        os.close(one)
    return count


def fills_memory() -> int:
    return len([b"x" * (16 * BLOCK) for _ in range(MANY)])


def spins() -> None:
    end = time.monotonic() + TOO_LONG
    while time.monotonic() < end:
        pass


def prints() -> None:
    for _ in range(MANY):
        sys.stderr.write("x" * BLOCK)


def leaves_a_daemon() -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(TOO_LONG)
        os._exit(0)
    os.wait()


def main() -> None:
    what, *arguments = sys.argv[1:]
    probes: dict[str, Callable[[], object]] = {
        "network": lambda: [one for one in reaches(int(arguments[0]), arguments[1]) if one],
        "files": lambda: [one for one in [*map(opens, SECRETS), *map(writes, WRITTEN)] if one],
        "processes": sees_processes,
        "kernel": lambda: calls(json.loads(arguments[0]), int(arguments[1])),
        "rights": has_rights,
        "disk": lambda: [fills("/tmp"), fills("/dev/shm")],  # the sandbox's own
        "forks": lambda: [forks()],
        "descriptors": lambda: [opened_files()],
        "memory": fills_memory,
        "cpu": spins,
        "sleep": lambda: time.sleep(TOO_LONG),
        "output": prints,
        "daemon": leaves_a_daemon,
    }
    print(json.dumps(probes[what]()))


if __name__ == "__main__":
    main()
