"""A Slurm of one node on this machine, in a scratch folder and on ports of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")
START_SECONDS = 60.0

CONFIGURATION = """
ClusterName=arena
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """A running Slurm: the environment in which its commands find it."""

    environment: dict[str, str]

    def submit(self, script: Path, *arguments: object, options: tuple[str, ...] = (), **variables: str) -> str:
        """Submit a job and return its id."""
        command = ["sbatch", "--parsable", *options, str(script), *map(str, arguments)]
        return self._output(command, self.environment | variables).strip().partition(";")[0]

    def wait_for(self, *jobs: str, seconds: float) -> dict[str, str]:
        """Return the final state of jobs, or the state in which they are when the time is over."""
        end, states = time.monotonic() + seconds, dict.fromkeys(jobs, "")
        with subprocess.Popen(["sleep", str(seconds)]) as clock:  # ends with the time or with the jobs
            while time.monotonic() < end and not all(state in FINAL for state in states.values()):
                states = {job: self._state(job) for job in jobs}
                with contextlib.suppress(subprocess.TimeoutExpired):
                    clock.wait(timeout=1)
            clock.kill()
        return states

    def cancel(self, job: str, signal: str) -> None:
        """Send a signal to a job's script."""
        self._output(["scancel", "--batch", f"--signal={signal}", job], self.environment)

    def _state(self, job: str) -> str:
        fields = self._output(["scontrol", "show", "job", "--oneliner", job], self.environment).split()
        return next(field.removeprefix("JobState=") for field in fields if field.startswith("JobState="))

    @staticmethod
    def _output(command: list[str], environment: dict[str, str]) -> str:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=START_SECONDS
        ).stdout


FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"})


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """Start Slurm, yield it, and end exactly the processes that were started."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    for path in (folder, *folder.parents[:-1]):
        path.chmod(path.stat().st_mode | 0o011)  # munged's user must reach its socket
    configuration = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    ports = {"controller": free_port(), "daemon": free_port()}
    configuration.write_text(CONFIGURATION.format(host=host, folder=folder, **ports))
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    environment = {key: value for key, value in environment.items() if not key.startswith(("SLURM_J", "RAY_"))}
    started: list[subprocess.Popen[bytes]] = []
    try:
        started.append(_munged(folder))
        _wait(lambda: (folder / "munge.socket").exists(), "munged", folder)
        for program in ("slurmctld", "slurmd"):
            with (folder / f"{program}.out").open("wb") as out:
                started.append(subprocess.Popen([program, "-D"], env=environment, stdout=out, stderr=out))
        _wait(lambda: _is_idle(environment), "slurmd", folder)
        yield Slurm(environment=environment)
    finally:
        for process in reversed(started):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _munged(folder: Path) -> subprocess.Popen[bytes]:
    own = folder / "munge"
    own.mkdir()
    (own / "key").write_bytes(secrets.token_bytes(1024))
    for path in (own, own / "key"):
        shutil.chown(path, "munge", "munge")
    own.chmod(0o700)
    (own / "key").chmod(0o400)
    command = ["munged", "--foreground", "--force", f"--key-file={own}/key", f"--socket={folder}/munge.socket"]
    command += [f"--pid-file={own}/pid", f"--log-file={own}/log", f"--seed-file={own}/seed"]
    folder.chmod(0o777)
    with (folder / "munged.out").open("wb") as out:
        return subprocess.Popen(command, user="munge", group="munge", stdout=out, stderr=out)


def _is_idle(environment: dict[str, str]) -> bool:
    shown = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True, check=False
    )
    return shown.stdout.strip() == "idle"


def _wait(done: object, what: str, folder: Path) -> None:
    assert callable(done)
    end = time.monotonic() + START_SECONDS
    with subprocess.Popen(["sleep", str(START_SECONDS)]) as clock:
        while not done():
            with contextlib.suppress(subprocess.TimeoutExpired):
                clock.wait(timeout=0.2)
            if time.monotonic() > end:
                logs = "\n".join(path.read_text(errors="replace")[-2_000:] for path in sorted(folder.glob("*.*o*")))
                clock.kill()
                raise AssertionError(f"{what} did not start:\n{logs}")
        clock.kill()
