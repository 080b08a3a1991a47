"""The two consoles: results go to stdout, progress and errors to stderr.

Brackets in what is printed are what they are, a user's folder may have some; style comes with `rich.text.Text`.
"""

from __future__ import annotations

import sys

from rich.console import Console

PIPE_WIDTH = 120  # where there is no terminal to ask

output = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, markup=False)
errors = Console(
    stderr=True, width=None if sys.stderr.isatty() else PIPE_WIDTH, highlight=False, markup=False, soft_wrap=True
)
