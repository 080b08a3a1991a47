"""Tells the operator's interrupt from one that a player raises: only the first ends a run.

A process that plays matches installs the handlers once (`raise_on_signals`); from then on a signal arrives as
`OperatorInterrupt`, and a plain KeyboardInterrupt can only be a player's own doing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class OperatorInterrupt(KeyboardInterrupt):
    """The operator asked this process to end, with Ctrl-C or with a signal; ``number`` is the signal's."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def raise_on_signals(numbers: Iterable[int] = SIGNALS) -> None:
    """Let signals raise `OperatorInterrupt`, SIGINT and SIGTERM by default; must be called in the main thread."""
    for number in numbers:
        signal.signal(number, _raise)


def is_operators(error: BaseException) -> bool:
    """Whether what came out of a player's code is the operator's interrupt, which must not be blamed on the player.

    Signals reach the main thread alone. Without our handlers (in a notebook, say) a KeyboardInterrupt there is taken for
    the operator's.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    if isinstance(error, OperatorInterrupt):
        return True
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is not _raise


def _raise(number: int, frame: FrameType | None) -> None:
    raise OperatorInterrupt(number)
