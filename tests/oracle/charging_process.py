"""A client and its ledger in one process: ``python -m tests.oracle.charging_process PATH FIRST CALLS``.

Prints the number of each call once it was answered, so that a parent which kills it knows what was.
"""

from __future__ import annotations

import sys
from pathlib import Path

from arena.oracle.sqlite_ledger import SqliteLedger
from tests.oracle.responders import CountingResponder, batch, key

if __name__ == "__main__":
    path, first, calls = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    ledger = SqliteLedger.open(path, budget=10_000)
    responder = CountingResponder()
    for number in range(first, calls):
        ledger.charge(key(number), batch(1 + number % 3, seed=number), responder, price=1 + number % 3)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
