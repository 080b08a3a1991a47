"""An MLflow server and a PostgreSQL server of this test alone, on free ports of the loopback interface."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ORDINARY_USER = "nobody"  # PostgreSQL refuses to run as root
END_SECONDS = 30


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@contextmanager
def mlflow_server(store: str, artifacts: Path, log: Path) -> Iterator[str]:
    """Yield the address of a server that keeps runs in ``store`` and files in ``artifacts``."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", str(artifacts)]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with _running(command, ready="Application startup complete", log=log, environment=environment):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def postgres_server() -> Iterator[str]:
    """Yield the address of an empty database."""
    user = ORDINARY_USER if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="arena-postgres-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        data, port = folder / "data", free_port()
        made = ["initdb", "--pgdata", str(data), "--username", "arena", "--auth", "trust", "--encoding", "UTF8"]
        subprocess.run([*made, "--locale", "C"], check=True, capture_output=True, user=user, cwd=folder)
        command = ["postgres", "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", "", "-F"]
        with _running(command, ready="ready to accept connections", log=folder / "log", user=user):
            yield f"postgresql+psycopg2://arena@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder)


@contextmanager
def _running(
    command: list[str], *, ready: str, log: Path, environment: dict[str, str] | None = None, user: str | None = None
) -> Iterator[None]:
    """Run a program until the block ends, which begins when the program says that it is ready."""
    process = subprocess.Popen(
        command,
        env=environment,
        user=user,
        cwd=log.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout as lines, log.open("w") as kept:
        said = []
        for line in lines:
            said.append(line)
            if ready in line:
                break
        else:
            message = f"{command} ended: {''.join(said)}"
            raise RuntimeError(message)
        rest = threading.Thread(target=lambda: [kept.write(line) for line in lines])
        rest.start()  # so that the program is never held up by a full pipe
        try:
            yield
        finally:
            _end(process)
            rest.join()


def _end(process: subprocess.Popen[str]) -> None:
    """End the program and what it started."""
    os.killpg(process.pid, 15)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
