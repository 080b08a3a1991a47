"""The two consoles: results go to stdout, progress and errors to stderr.

Brackets are printed as they are, because a user's folder may contain some; for styles, use `rich.text.Text`.
"""

from __future__ import annotations

import codecs
import io
import signal
import sys

from rich.console import Console

from arena.oracle.interrupts import OperatorInterrupt

PIPE_WIDTH = 120  # the width of a line if the output is not a terminal

INTERRUPTED_EXIT, TERMINATED_EXIT = 130, 143


def stopped(interrupt: KeyboardInterrupt) -> str:
    """Return one word that says how the operator ended a command."""
    return "terminated" if stopped_exit(interrupt) == TERMINATED_EXIT else "interrupted"


def stopped_exit(interrupt: KeyboardInterrupt) -> int:
    """Return the exit code of a command that the operator ended."""
    number = interrupt.number if isinstance(interrupt, OperatorInterrupt) else signal.SIGINT
    return TERMINATED_EXIT if number == signal.SIGTERM else INTERRUPTED_EXIT


def carry_every_character() -> None:
    """Write characters that a stream cannot encode in ASCII, instead of ending the command with an error."""
    codecs.register_error(_IN_ASCII, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_IN_ASCII)


_IN_ASCII = "arena-in-ascii"
_ASCII = {"±": "+-", "─": "-", "━": "-", "│": "|", "…": "...", "×": "x", "–": "-", "—": "-", "’": "'"}


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError), "this handles errors of encoding only"
    missing = error.object[error.start : error.end]
    return "".join(_ASCII.get(character, "?") for character in missing), error.end


output = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, markup=False)
errors = Console(
    stderr=True, width=None if sys.stderr.isatty() else PIPE_WIDTH, highlight=False, markup=False, soft_wrap=True
)
