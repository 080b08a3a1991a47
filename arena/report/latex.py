"""The tables of a report in LaTeX, with rules from booktabs; captions state seeds, intervals, hardware and versions."""

from __future__ import annotations

from arena.report.document import document
from arena.report.sections.reproduce import provenance
from arena.report.sections.story import Story
from arena.report.sheets import Cell, Exhibit, Sheet

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "\n": " ",
    "\r": " ",
}
"""Characters that LaTeX would read as commands, or that it does not have."""
HEADER = "% \\usepackage{booktabs} and \\usepackage[T1]{fontenc} are needed.\n"


def latex(story: Story) -> str:
    """Return the tables for a paper. What players' authors wrote is escaped."""
    made = provenance(story)
    exhibits = [exhibit for section in document(story) for exhibit in section.exhibits if exhibit.sheet.for_paper]
    return HEADER + "".join(f"\n{_table(exhibit, made)}" for exhibit in exhibits if exhibit.sheet.rows)


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    return "".join(SPECIAL.get(character, character) for character in text)


def _table(exhibit: Exhibit, made: str) -> str:
    sheet = exhibit.sheet
    setting = f" ({exhibit.setting})" if exhibit.setting else ""
    marks = _of_marks(sheet)
    caption = escaped(f"{sheet.title}{setting}. {sheet.caption} {marks}{made}".replace("  ", " "))
    columns = "".join("r" if head.numeric else "l" for head in sheet.heads)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{sheet.name}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _row([escaped(head.text) for head in sheet.heads]),
        r"\midrule",
        *(_row([_cell(cell) for cell in row]) for row in sheet.rows),
        *([r"\midrule", *(_row([_cell(cell) for cell in row]) for row in sheet.foot)] if sheet.foot else []),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    """Return a cell; the worst case of a column is bold, an undecided cell is in italics."""
    text = escaped(cell.text)
    text = rf"\textit{{{text}}}" if "undecided" in cell.marks else text
    return rf"\textbf{{{text}}}" if "worst" in cell.marks else text


def _of_marks(sheet: Sheet) -> str:
    marks = {mark for row in sheet.rows for cell in row for mark in cell.marks}
    worst = "Bold: the worst case of a defense. " if "worst" in marks else ""
    undecided = "Italics: no significant difference from the undefended victim. " if "undecided" in marks else ""
    return worst + undecided
