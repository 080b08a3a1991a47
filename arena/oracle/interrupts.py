"""Distinguishes the operator's interrupt, which ends a run, from one that a player raises, which does not.

A process that plays matches installs the handlers once (`raise_on_signals`). From then on a signal arrives as
`OperatorInterrupt`, and a plain KeyboardInterrupt can only come from a player. While matches are played, the first
SIGTERM only asks for an end (`EndAsked`), so that the running matches can end by themselves.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator
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


class EndAsked:
    """True once the operator has asked the run to end: no new match starts, and running ones have time to end."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def __bool__(self) -> bool:
        return self._asked.is_set()

    @contextlib.contextmanager
    def on_sigterm(self, *, seconds: float) -> Iterator[None]:
        """Make the first SIGTERM set this, and `OperatorInterrupt` follow at the second one, or after ``seconds``.

        Must be entered in the main thread.
        """
        main = threading.main_thread().ident
        assert main is not None, "a main thread that runs this has an id"
        # A signal, and not a call from the timer's thread, because only a signal ends what the main thread waits for.
        over = threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGTERM))
        over.daemon = True

        def ask(number: int, frame: FrameType | None) -> None:
            self._asked.set()
            signal.signal(signal.SIGTERM, _raise)
            over.start()

        before = signal.signal(signal.SIGTERM, ask)
        try:
            yield
        finally:
            over.cancel()
            signal.signal(signal.SIGTERM, before)


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
