"""What TLS costs a call: the same oracle behind two servers, one with TLS, asked in turn by one client.

Client and servers are threads of this process, so that the CPU time covers both ends.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from arena.contracts import Answer, QueryBatch, Task
from arena.learning.architectures import build
from arena.learning.training import predict
from arena.oracle.session import Session
from arena.oracle.sqlite_ledger import SqliteLedger
from arena.oracle.terms import OracleTerms
from arena.rpc.certificates import RunTls
from arena.rpc.client import Connection, RemoteOracle
from arena.rpc.server import serving

TASK = Task(shape=(1, 28, 28), classes=10)
BUDGET = 10_000_000
ROUNDS = 7
CALLS = {1: 100, 256: 20}  # of one round, by rows in a call


@dataclass(frozen=True, kw_only=True)
class Round:
    """CPU seconds a row, and the median of a call's wall seconds."""

    cpu: float
    wall: float


def asked(oracle: RemoteOracle, rows: torch.Tensor, calls: int) -> Round:
    walls, cpu = [], time.process_time()
    for _ in range(calls):
        start = time.perf_counter()
        oracle.query(rows)
        walls.append(time.perf_counter() - start)
    return Round(cpu=(time.process_time() - cpu) / (calls * len(rows)), wall=statistics.median(walls))


def encryption_table() -> None:
    """Print CPU time a row and the median time of a call, without and with TLS: the median of all rounds."""
    network = build("bench-cnn", TASK, rng=torch.Generator().manual_seed(0)).eval()

    def respond(queries: QueryBatch) -> Answer:
        rows = queries.inputs
        return Answer(posteriors=predict(network, rows), refused=torch.zeros(len(rows), dtype=torch.bool))

    tls = RunTls.make()
    ways = {"plain": (None, None), "TLS": (tls.server, tls.client)}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as opened:
        oracles: dict[str, RemoteOracle] = {}
        for way, (server_side, client_side) in ways.items():
            server = opened.enter_context(serving(tls=server_side))
            ledger = SqliteLedger.open(Path(folder) / f"{way}.sqlite", budget=BUDGET)
            token = server.open(Session(OracleTerms(task=TASK, budget=BUDGET), responder=respond, ledger=ledger))
            oracles[way] = RemoteOracle(opened.enter_context(Connection(server.address, token, tls=client_side)))
        print("| rows a call | CPU us a row, plain | with TLS | ratio | p50 ms of a call, plain | with TLS | ratio |")
        print("|--:|--:|--:|--:|--:|--:|--:|")
        for rows, calls in CALLS.items():
            levels = torch.randint(0, 256, (rows, *TASK.shape), generator=torch.Generator().manual_seed(1))
            inputs = torch.arange(256, dtype=torch.float32).div(255)[levels]
            seen: dict[str, list[Round]] = {way: [] for way in ways}
            for _ in range(ROUNDS):
                for way, oracle in oracles.items():
                    seen[way].append(asked(oracle, inputs, calls))
            cpu, wall = (
                {way: statistics.median(getattr(one, figure) for one in rounds) for way, rounds in seen.items()}
                for figure in ("cpu", "wall")
            )
            print(
                f"| {rows} | {1e6 * cpu['plain']:.0f} | {1e6 * cpu['TLS']:.0f} | {cpu['TLS'] / cpu['plain']:.2f} | "
                f"{1e3 * wall['plain']:.2f} | {1e3 * wall['TLS']:.2f} | {wall['TLS'] / wall['plain']:.2f} |"
            )
    print()
