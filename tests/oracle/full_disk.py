"""Charge until no file may grow, be refused three times, charge again: prints answered, refused, recorded calls."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from arena.contracts import LedgerUnavailable
from arena.oracle.sqlite_ledger import SqliteLedger
from tests.oracle.responders import CountingResponder, batch, key


def fill(path: Path) -> None:
    """Charge to the ledger at ``path``, in a process whose files may not grow for a while."""
    ledger = SqliteLedger.open(path, budget=10_000)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limit[1]))
    answered = refused = number = 0
    while refused < 3:
        assert number < 1000
        try:
            ledger.charge(key(number), batch(3, seed=number), CountingResponder(), price=3)
            answered += 1
            number += 1
        except LedgerUnavailable:
            refused += 1
    assert ledger.remaining == 10_000 - 3 * answered
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    ledger.charge(key(number), batch(3, seed=number), CountingResponder(), price=3)
    ledger.close()
    sys.stdout.write(f"{answered + 1} {refused} {ledger.transcript().counts.calls}\n")
