"""The tables of a report in Markdown, for a README or an issue."""

from __future__ import annotations

import html

from arena.report.document import document
from arena.report.sections.reproduce import provenance
from arena.report.sections.story import Story
from arena.report.sections.summary import status
from arena.report.sheets import Cell, Exhibit, Section

SPECIAL = "\\`*_[]|#~"


def markdown(story: Story) -> str:
    """Return the sentences and the tables for a paper. What players' authors wrote is escaped."""
    sections = document(story)
    parts = [f"# Tournament {escaped(story.record.name)}", f"**{escaped(status(story))}**"]
    for section in sections:
        parts += _section(section)
    return "\n\n".join([*parts, f"*{escaped(provenance(story))}*"]) + "\n"


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in one line; what could be HTML is no HTML."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{character}" if character in SPECIAL else character for character in plain)


def _section(section: Section) -> list[str]:
    shown = [exhibit for exhibit in section.exhibits if exhibit.sheet.for_paper and exhibit.sheet.rows]
    if not shown and section.key != "summary":
        return []
    parts = [f"## {escaped(section.title)}"]
    if section.key == "summary":
        parts += [escaped(remark) for remark in section.remarks]
    for exhibit in shown:
        parts += table_parts(exhibit)
    return parts


def table_parts(exhibit: Exhibit) -> list[str]:
    """Return a table as paragraphs: its title, the table, and its caption."""
    sheet = exhibit.sheet
    setting = f" ({exhibit.setting})" if exhibit.setting else ""
    rules = ["---:" if head.numeric else "---" for head in sheet.heads]
    lines = [[escaped(head.text) for head in sheet.heads], rules]
    lines += [[_cell(cell) for cell in row] for row in (*sheet.rows, *sheet.foot)]
    return [
        f"### {escaped(sheet.title + setting)}",
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
        escaped(sheet.caption),
    ]


def _cell(cell: Cell) -> str:
    """Return a cell; the worst case of a column is bold, an undecided cell is in italics."""
    text = escaped(cell.text)
    text = f"*{text}*" if "undecided" in cell.marks else text
    return f"**{text}**" if "worst" in cell.marks else text
