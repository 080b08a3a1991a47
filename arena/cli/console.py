"""The two consoles: results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import sys

from rich.console import Console

PIPE_WIDTH = 120  # where there is no terminal to ask

output = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
errors = Console(stderr=True, width=None if sys.stderr.isatty() else PIPE_WIDTH, highlight=False, soft_wrap=True)
