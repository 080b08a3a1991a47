"""A client and its ledger in one process: prints each call's number once it was answered, for whoever kills it."""

from __future__ import annotations

import sys
from pathlib import Path

from arena.oracle.sqlite_ledger import SqliteLedger
from tests.oracle.responders import CountingResponder, batch, key


def charge(path: Path, first: int, calls: int) -> None:
    """Open the ledger at ``path`` and charge the calls from ``first`` on."""
    ledger = SqliteLedger.open(path, budget=10_000)
    responder = CountingResponder()
    for number in range(first, calls):
        ledger.charge(key(number), batch(1 + number % 3, seed=number), responder, price=1 + number % 3)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
