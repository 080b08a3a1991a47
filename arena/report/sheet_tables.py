"""Any sheet as a table for a terminal."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from arena.report.rich_tables import add_row, table_of, titled
from arena.report.sheets import Sheet


def sheet_table(sheet: Sheet) -> RenderableType:
    """Return a sheet between its title and its caption; columns of numbers are aligned to the right."""
    table = table_of()
    for head in sheet.heads:
        table.add_column(
            Text(head.text), justify="right" if head.numeric else "left", overflow="fold", no_wrap=head.numeric
        )
    for row in (*sheet.rows, *sheet.foot):
        add_row(table, *(cell.text for cell in row))
    return titled(sheet.title, table, caption=sheet.caption)
