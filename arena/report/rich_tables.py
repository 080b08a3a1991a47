"""How the terminal's tables look: columns, rows and captions, without a word of what is in them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

GUTTER = 2  # between two columns


def table_of(*words: str, numbers: Sequence[str] = ()) -> Table:
    """Return an empty table with columns of words and, right-justified, of numbers."""
    table = Table(box=SIMPLE_HEAD, padding=(0, GUTTER - 1, 0, 0), pad_edge=False)
    for column in words:
        table.add_column(Text(column), overflow="fold")
    for column in numbers:
        table.add_column(Text(column), justify="right", no_wrap=True)
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add cells as they are: a player's name is no markup."""
    table.add_row(*map(Text, cells))


def titled(title: str, *parts: RenderableType, caption: str) -> RenderableType:
    """Return parts below a title and above a caption, which are as wide as the console, not as the table."""
    return Group(Text(title, style="bold"), *parts, Text(caption, style="dim"), Text())


def counted(number: int, word: str, plural: str = "") -> str:
    """Return a number with its word: ``1 row``, ``2,000 rows``; ``plural`` is for words that take more than an s."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {plural or word + 's'}"
