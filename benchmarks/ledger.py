"""What a durable charge costs, and what killing its process loses: nothing.

``python benchmarks/ledger.py`` prints markdown rows: p50 and p99 of a charge at 1 and 256 rows of 28x28 bytes, defense
left out, in the folder that ``--folder`` names (default: the temporary one); then ``--kills`` kills of a charging
process in mid-call, whose client repeats every call that was not answered under the same request id.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import torch

from arena.contracts import Answer, QueryBatch
from arena.oracle.sqlite_ledger import SqliteLedger

SHAPE, CLASSES = (1, 28, 28), 10
BUDGET = 10_000_000
CHARGES = 400
BATCHES = (1, 256)
CALLS_OF_A_VICTIM_OF_KILLS = 20_000


def respond(queries: QueryBatch) -> Answer:
    rows = len(queries.inputs)
    return Answer(posteriors=torch.full((rows, CLASSES), 1 / CLASSES), refused=torch.zeros(rows, dtype=torch.bool))


def call(number: int, rows: int) -> QueryBatch:
    levels = torch.randint(0, 256, (rows, *SHAPE), generator=torch.Generator().manual_seed(number))
    return QueryBatch(inputs=torch.arange(256, dtype=torch.float32).div(255)[levels])


def measure_charges(folder: Path, rows: int) -> list[float]:
    """Return the seconds of each charge, sorted."""
    ledger = SqliteLedger.open(folder / f"{rows}.ledger", budget=BUDGET)
    queries, times = call(0, rows), []
    for _ in range(CHARGES):
        start = time.perf_counter()
        ledger.charge(secrets.token_bytes(16), queries, respond, price=rows)
        times.append(time.perf_counter() - start)
    ledger.release()
    return sorted(times)


def rows_of(number: int) -> int:
    """Most calls ask one row, every tenth 256."""
    return 256 if number % 10 == 9 else 1


def charge_from(path: Path, first: int) -> None:
    """Charge calls ``first``, ``first + 1``, ... until killed; print each number once it was answered."""
    ledger = SqliteLedger.open(path, budget=BUDGET)
    for number in range(first, CALLS_OF_A_VICTIM_OF_KILLS):
        ledger.charge(number.to_bytes(16, "little"), call(number, rows_of(number)), respond, price=rows_of(number))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


def kill_often(folder: Path, kills: int) -> tuple[int, int, int]:
    """Return the calls answered, and the rows lost and doubled, after ``kills`` kills."""
    path, random, number = folder / "killed.ledger", Random(0), 0
    for _ in range(kills):
        program = [sys.executable, __file__, "--charge-from", str(path), str(number)]
        with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            until = number + random.randrange(1, 40)
            for line in process.stdout:
                number = int(line) + 1
                if number > until:
                    time.sleep(random.uniform(0, 0.003))  # somewhere in the next calls
                    os.kill(process.pid, signal.SIGKILL)
            # What it printed before it died was answered too; the loop above has read it.
    ledger = SqliteLedger.open(path, budget=BUDGET)
    if ledger.remaining < BUDGET - sum(map(rows_of, range(number))):
        # Charged, answer lost: the client repeats it under its id and is answered from the record.
        ledger.charge(number.to_bytes(16, "little"), call(number, rows_of(number)), respond, price=rows_of(number))
        number += 1
    ledger.close()
    recorded = [recorded.request.id for recorded in ledger.transcript().calls]
    expected = {n.to_bytes(16, "little"): rows_of(n) for n in range(number)}
    lost = sum(rows for request, rows in expected.items() if request not in recorded)
    charged = ledger.transcript().counts.spent
    return number, lost, charged - sum(expected.values()) + lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--charge-from", nargs=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.charge_from:
        charge_from(Path(arguments.charge_from[0]), int(arguments.charge_from[1]))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        print(f"| rows of 28x28 in a charge | p50 ms | p99 ms |\n|{'---|' * 3}")
        for rows in BATCHES:
            times = measure_charges(Path(folder), rows)
            print(f"| {rows} | {1e3 * statistics.median(times):.2f} | {1e3 * times[CHARGES * 99 // 100]:.2f} |")
        calls, lost, doubled = kill_often(Path(folder), arguments.kills)
        print(f"\n| kills | calls answered | rows lost | rows doubled |\n|{'---|' * 4}")
        print(f"| {arguments.kills} | {calls} | {lost} | {doubled} |")


if __name__ == "__main__":
    main()
