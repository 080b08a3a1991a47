"""What serving costs: an oracle over gRPC against the bare forward of its victim, measured side by side in one run.

``python benchmarks/oracle.py`` prints a markdown table of ratios. Every process has one torch thread; the sides of each
comparison run in processes of their own with the same settings of malloc, in alternating rounds. CPU time is that of
the server's process, all its threads; the client's stands beside it. ``--without-ray`` leaves out the Ray actor.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from arena.contracts import Answer, QueryBatch, Task
from arena.learning.architectures import build
from arena.learning.training import predict
from arena.oracle.session import Session
from arena.oracle.sqlite_ledger import SqliteLedger
from arena.oracle.terms import OracleTerms
from arena.rpc.client import Connection, RemoteOracle
from arena.rpc.server import serving

Floats: TypeAlias = npt.NDArray[np.float32]

TASK = Task(shape=(1, 28, 28), classes=10)
BUDGET = 10_000_000
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
}
ROUNDS = 5
CALLS = {256: 16, 1: 300}  # of one round, by rows in a call


class Victim:
    """``bench-cnn`` with fresh weights, which cost what trained ones cost."""

    def __init__(self) -> None:
        self.module = build("bench-cnn", TASK, rng=torch.Generator().manual_seed(0)).eval()

    def __call__(self, queries: QueryBatch) -> Answer:
        rows = queries.inputs
        return Answer(posteriors=predict(self.module, rows), refused=torch.zeros(len(rows), dtype=torch.bool))


class BareSession(Session):
    """The same oracle without ledger and checks."""

    bare = Victim()

    def query(self, request_id: bytes, queries: QueryBatch) -> Answer:
        return self.bare(queries)


def rows_of_bytes(rows: int) -> torch.Tensor:
    levels = torch.randint(0, 256, (rows, *TASK.shape), generator=torch.Generator().manual_seed(1))
    return torch.arange(256, dtype=torch.float32).div(255)[levels]


def serve(folder: Path) -> None:
    """Serve both oracles until stdin ends; say where."""
    sessions = [
        kind(
            OracleTerms(task=TASK, budget=BUDGET),
            responder=Victim(),
            ledger=SqliteLedger.open(folder / f"{kind.__name__}.ledger", budget=BUDGET),
        )
        for kind in (Session, BareSession)
    ]
    with serving() as server:
        say([server.address, *(server.open(session) for session in sessions)])
        sys.stdin.read()


def forward(*, shipped: bool) -> None:
    """Run the bare forward as often as stdin says; ``shipped`` is padded and channels-last, else eager defaults."""
    network = Victim().module
    if not shipped:
        network = network.body.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # missing in torch's stubs

    @torch.inference_mode()
    def eager(inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = network(inputs)
        return logits.softmax(dim=1)

    run: Callable[[torch.Tensor], torch.Tensor] = (lambda inputs: predict(network, inputs)) if shipped else eager
    say("ready")
    for line in sys.stdin:
        rows, calls = json.loads(line)
        inputs = rows_of_bytes(rows)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            run(inputs)
        say([time.process_time() - cpu, time.perf_counter() - wall])


def say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


class Process:
    """A child in one of the roles above, asked and heard by lines of JSON."""

    def __init__(self, role: str, *arguments: str, settings: dict[str, str]) -> None:
        environment = {key: value for key, value in os.environ.items() if key not in SETTINGS} | settings
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--role", role, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.said = self.hear()

    def hear(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, value: object) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()
        return self.hear()

    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far, to the nanosecond."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class Measured:
    """CPU seconds, wall seconds and client CPU seconds per call, by round; wall seconds of each call."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall: list[float] = []
        self.client: list[float] = []
        self.each: list[float] = []


def measure_oracle(oracle: RemoteOracle, server: Process, inputs: torch.Tensor, calls: int, measured: Measured) -> None:
    cpu, client, wall = server.cpu_seconds(), time.process_time(), time.perf_counter()
    for _ in range(calls):
        start = time.perf_counter()
        oracle.query(inputs)
        measured.each.append(time.perf_counter() - start)
    measured.wall.append((time.perf_counter() - wall) / calls)
    measured.client.append((time.process_time() - client) / calls)
    measured.cpu.append((server.cpu_seconds() - cpu) / calls)


def measure_forward(process: Process, rows: int, calls: int, measured: Measured) -> None:
    cpu, wall = process.ask([rows, calls])
    measured.cpu.append(cpu / calls)
    measured.wall.append(wall / calls)


def timed(call: Callable[[], object], calls: int) -> list[float]:
    """Return the wall seconds of each call."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def measure_ray(folder: Path, oracle: RemoteOracle, *, calls: int, rounds: int) -> tuple[float, float]:
    """Return the p50 seconds of one row: served, and through a plain Ray actor that commits each call; in turn."""
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    import ray

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)

    class Plain:
        def __init__(self, path: str) -> None:
            torch.set_num_threads(1)
            self.victim = Victim()
            self.database = sqlite3.connect(path, isolation_level=None)
            self.database.execute("PRAGMA journal_mode = WAL")
            self.database.execute("PRAGMA synchronous = FULL")
            self.database.execute("CREATE TABLE answer (inputs BLOB, posteriors BLOB)")

        def predict(self, inputs: Floats) -> Floats:
            answer: Floats = self.victim(QueryBatch(inputs=torch.from_numpy(inputs.copy()))).posteriors.numpy()
            self.database.execute("INSERT INTO answer VALUES (?, ?)", (inputs.tobytes(), answer.tobytes()))
            return answer

    environment = {**SETTINGS, "PYTHONPATH": f"{Path.cwd()}:{Path(__file__).parent}"}
    remote = ray.remote(num_cpus=0, runtime_env={"env_vars": environment})(Plain)
    actor = remote.remote(str(folder / "ray.sqlite"))
    rows = rows_of_bytes(1)
    array = rows.numpy()
    served: list[float] = []
    plain: list[float] = []
    for number in range(rounds + 1):
        one = timed(lambda: oracle.query(rows), calls)
        other = timed(lambda: ray.get(actor.predict.remote(array)), calls)
        if number:  # the first round warms both
            served += one
            plain += other
    ray.shutdown()
    return statistics.median(served), statistics.median(plain)


def compare(folder: Path, *, rounds: int, with_ray: bool) -> None:
    raw = Process("shipped", settings=SETTINGS)
    eager = Process("eager", settings={"OMP_NUM_THREADS": "1"})
    server = Process("serve", str(folder), settings=SETTINGS)
    address, full, bare = server.said
    with Connection(address, full) as one, Connection(address, bare) as other:
        oracles = {"served": RemoteOracle(one), "served without ledger and checks": RemoteOracle(other)}
        results = {rows: measure(raw, eager, server, oracles, rows=rows, rounds=rounds) for rows in CALLS}
        beside = measure_ray(folder, oracles["served"], calls=CALLS[1], rounds=rounds) if with_ray else None
    for process in (raw, eager, server):
        process.end()
    for rows, measured in results.items():
        print_rows(rows, measured)
    if beside is not None:
        ours, ray = beside
        print(
            f"| 1 | p50 of a call: served / Ray actor with one commit | {1e3 * ours:.2f} ms / {1e3 * ray:.2f} ms = {ours / ray:.2f} |"
        )


def measure(
    raw: Process, eager: Process, server: Process, oracles: dict[str, RemoteOracle], *, rows: int, rounds: int
) -> dict[str, Measured]:
    """Alternate the sides for ``rounds`` rounds, after one that is thrown away."""
    measured = {name: Measured() for name in ("raw", "eager", *oracles)}
    inputs, calls = rows_of_bytes(rows), CALLS[rows]
    for number in range(rounds + 1):
        if number == 1:
            measured = {name: Measured() for name in measured}
        measure_forward(raw, rows, calls, measured["raw"])
        for name, oracle in oracles.items():
            measure_oracle(oracle, server, inputs, calls, measured[name])
        measure_forward(eager, rows, calls, measured["eager"])
    return measured


def print_rows(rows: int, measured: dict[str, Measured]) -> None:
    """Print ratios of the sums over all rounds."""
    print(f"\n| rows a call | what | server CPU ms a call | wall ms a call | client CPU ms a call |\n|{'---|' * 5}")
    for name, side in measured.items():
        client = f"{1e3 * statistics.mean(side.client):.2f}" if side.client else "-"
        print(
            f"| {rows} | {name} | {1e3 * statistics.mean(side.cpu):.2f} | {1e3 * statistics.mean(side.wall):.2f} | {client} |"
        )
    cpu = {name: sum(side.cpu) for name, side in measured.items()}
    wall = {name: sum(side.wall) for name, side in measured.items()}
    each = sorted(measured["served"].each)
    served, without = "served", "served without ledger and checks"
    print(f"\n| rows a call | figure | measured |\n|{'---|' * 3}")
    for figure, value in (
        ("rows per CPU second, served / raw", f"{cpu['raw'] / cpu[served]:.3f}"),
        ("rows per CPU second, served / without ledger and checks", f"{cpu[without] / cpu[served]:.3f}"),
        ("rows per second, served / raw", f"{wall['raw'] / wall[served]:.3f}"),
        ("CPU per row, eager PyTorch / shipped forward", f"{cpu['eager'] / cpu['raw']:.2f}"),
        (
            "p50, p99 of a served call",
            f"{1e3 * each[len(each) // 2]:.2f} ms, {1e3 * each[len(each) * 99 // 100]:.2f} ms",
        ),
    ):
        print(f"| {rows} | {figure} | {value} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=["serve", "shipped", "eager"])
    parser.add_argument("--without-ray", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("folder", nargs="?", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.role == "serve":
        serve(arguments.folder)
    elif arguments.role is not None:
        forward(shipped=arguments.role == "shipped")
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), rounds=arguments.rounds, with_ray=not arguments.without_ray)


if __name__ == "__main__":
    main()
