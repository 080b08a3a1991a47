"""Distinguishes the operator's interrupt, which ends a run, from one that a player raises, which does not.

A process that plays matches installs the handlers once (`raise_on_signals`). From then on a signal arrives as
`OperatorInterrupt`, and a plain KeyboardInterrupt can only come from a player.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class OperatorInterrupt(KeyboardInterrupt):
    """The operator asked this process to end, with Ctrl-C or another signal; ``number`` is the signal's number."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def raise_on_signals(numbers: Iterable[int] = SIGNALS) -> None:
    """Make signals, by default SIGINT and SIGTERM, raise `OperatorInterrupt`. Must be called in the main thread."""
    for number in numbers:
        signal.signal(number, _raise)


def is_operators(error: BaseException) -> bool:
    """Return whether an error that left a player's code is the operator's interrupt, for which no player is to blame.

    Signals reach only the main thread. If our handlers are not installed, as in a notebook, a KeyboardInterrupt in the
    main thread counts as the operator's.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if isinstance(error, OperatorInterrupt):
        return True
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not _raise


def _raise(number: int, frame: FrameType | None) -> None:
    raise OperatorInterrupt(number)
