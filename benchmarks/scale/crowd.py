"""Many clients on one oracle host: what each of them gets of it, and how long its calls take.

The host and the clients are processes of their own. Each client plays a match of its own and asks without a pause.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch

from arena.contracts import Answer, ArenaError, QueryBatch, Task
from arena.learning.architectures import build
from arena.learning.training import predict
from arena.oracle.session import Session
from arena.oracle.sqlite_ledger import SqliteLedger
from arena.oracle.terms import OracleTerms
from arena.rpc.client import Connection, RemoteOracle
from arena.rpc.server import serving

TASK = Task(shape=(1, 28, 28), classes=10)
CLIENTS, PROCESSES = 200, 4
ROWS = 16  # of a call
BUDGET = 10_000_000
DEMANDED_SHARE = 0.20  # by which a client's calls may differ from the mean of all
CALL_SECONDS = 120.0


@dataclass(kw_only=True)
class Client:
    """What one client saw: the seconds that each of its calls took, and the errors that it could not retry away."""

    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def ask(self, address: str, token: str, *, start: float, end: float) -> None:
        rows = torch.rand(ROWS, *TASK.shape).mul(255).round().div(255)
        with Connection(address, token, call_seconds=CALL_SECONDS) as connection:
            oracle = RemoteOracle(connection)
            time.sleep(max(0.0, start - time.time()))
            while (before := time.time()) < end:
                try:
                    oracle.query(rows)
                except ArenaError as error:
                    self.errors[type(error).__name__] += 1
                else:
                    self.seconds.append(time.time() - before)


def host(folder: Path) -> None:
    """Serve one match for each client until stdin ends, and print the address and the tokens."""
    network = build("linear", TASK, rng=torch.Generator().manual_seed(0)).eval()

    def respond(queries: QueryBatch) -> Answer:
        rows = queries.inputs
        return Answer(posteriors=predict(network, rows), refused=torch.zeros(len(rows), dtype=torch.bool))

    with serving() as server:
        tokens = [
            server.open(
                Session(
                    OracleTerms(task=TASK, budget=BUDGET),
                    responder=respond,
                    ledger=SqliteLedger.open(folder / f"{number}.sqlite", budget=BUDGET),
                )
            )
            for number in range(CLIENTS)
        ]
        say([server.address, tokens])
        sys.stdin.read()


def clients(address: str, tokens: list[str], *, start: float, end: float) -> None:
    """Ask with one thread a token, and print what each of them saw."""
    crowd = [Client() for _ in tokens]
    threads = [
        threading.Thread(target=client.ask, args=(address, token), kwargs={"start": start, "end": end})
        for client, token in zip(crowd, tokens, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say([[client.seconds, dict(client.errors)] for client in crowd])


def crowd_table(*, seconds: float) -> bool:
    """Print what the clients saw, and return whether there was no error and their shares are fair."""
    with tempfile.TemporaryDirectory() as folder:
        serving_process = _child("host", folder)
        assert serving_process.stdout is not None
        address, tokens = json.loads(serving_process.stdout.readline())
        start = time.time() + 30.0  # by then every client has connected
        each = CLIENTS // PROCESSES
        asking = [
            _child(
                "clients",
                address,
                json.dumps(tokens[number * each : (number + 1) * each]),
                f"{start}",
                f"{start + seconds}",
            )
            for number in range(PROCESSES)
        ]
        seen = [one for child in asking for one in json.loads(child.communicate()[0])]
        serving_process.communicate()
    calls = [len(waits) for waits, _ in seen]
    waits = sorted(1e3 * wait for each, _ in seen for wait in each)
    errors = sum((Counter(found) for _, found in seen), Counter[str]())
    mean = statistics.fmean(calls)
    least, most = min(calls) / mean, max(calls) / mean
    p50, p99 = (waits[int(share * (len(waits) - 1))] for share in (0.5, 0.99))
    print("| clients | rows a call | calls a second | p50 ms | p99 ms | least of a client | most | errors |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    print(
        f"| {CLIENTS} | {ROWS} | {sum(calls) / seconds:.0f} | {p50:.0f} | {p99:.0f} | {least:.2f} | {most:.2f} | "
        f"{dict(errors) or 0} |\n"
    )
    return not errors and 1 - least <= DEMANDED_SHARE and most - 1 <= DEMANDED_SHARE


def _child(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    torch.set_num_threads(1)
    match sys.argv[1:]:
        case ["host", folder]:
            host(Path(folder))
        case ["clients", address, tokens, start, end]:
            clients(address, json.loads(tokens), start=float(start), end=float(end))
