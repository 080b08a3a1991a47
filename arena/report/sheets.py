"""Tables as plain values, from which the page, the LaTeX and the Markdown are written; independent of any layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from arena.metrics.intervals import Interval
from arena.report.pictures.picture import Picture
from arena.report.sentences import percent, percent_range

NOTHING = "-"
NOT_FINITE = "not finite"
MISSING = "missing"
SMALLEST_P = 1e-4  # smaller ones are shown as below this


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What a cell shows. ``value`` sorts it, ``note`` explains it, ``marks`` say what is special about it.

    ``shade`` in [0, 1] colours the cells of a heat map. The marks are ``worst``, ``undecided``, ``missing``, ``leak``
    and ``yardstick``; a renderer shows each of them by shape as well as by colour.
    """

    text: str
    value: float | str | None = None
    note: str = ""
    marks: tuple[str, ...] = ()
    shade: float | None = None


@dataclass(frozen=True, kw_only=True)
class Head:
    """The head of a column; numbers are aligned to the right, and sorted as numbers."""

    text: str
    numeric: bool = False


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table with its title and a caption that explains its columns. ``foot`` holds rows that are not sorted."""

    name: str  # unique in a report, of letters, digits and hyphens
    title: str
    caption: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    foot: tuple[tuple[Cell, ...], ...] = ()
    heat: bool = False
    legend: str = ""  # what the shades of a heat map mean
    for_paper: bool = True  # whether the LaTeX and the Markdown include it


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A table and the pictures of what is in it, below which a page folds the table."""

    sheet: Sheet
    pictures: tuple[Picture, ...] = ()
    setting: str = ""  # the victim, pool and budget it belongs to; empty: the whole tournament


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report and the decision that it serves. ``remarks`` are sentences above its exhibits."""

    key: str
    title: str
    decision: str
    remarks: tuple[str, ...] = ()
    exhibits: tuple[Exhibit, ...] = field(default=())


def heads(*words: str, numbers: Sequence[str] = ()) -> tuple[Head, ...]:
    """Return the heads of columns of words, followed by those of columns of numbers."""
    return (*(Head(text=word) for word in words), *(Head(text=number, numeric=True) for number in numbers))


def words(text: str, *, note: str = "", marks: tuple[str, ...] = ()) -> Cell:
    """Return a cell of text; an empty one is shown as a dash."""
    return Cell(text=text or NOTHING, value=text, note=note, marks=marks)


def number(value: float | None, pattern: str = "{:,.0f}", *, note: str = "") -> Cell:
    """Return a cell with a number, a dash if there is none, and words if it is not finite."""
    if value is None:
        return Cell(text=NOTHING, note=note)
    if not math.isfinite(value):
        return Cell(text=NOT_FINITE, note=note)
    return Cell(text=pattern.format(value), value=value, note=note)


def share(value: float | None, *, digits: int = 1, note: str = "") -> Cell:
    """Return a cell with a share in percent."""
    return number(None if value is None else 100 * value, f"{{:.{digits}f}}", note=note)


def p_value(value: float) -> Cell:
    """Return a cell with a p-value."""
    return Cell(text=f"< {SMALLEST_P:.4f}" if value < SMALLEST_P else f"{value:.4f}", value=value)


def estimate(interval: Interval | None, *, marks: tuple[str, ...] = ()) -> Cell:
    """Return a cell with a mean in percent, and with its 95 % interval, or its values if they are too few, as a note."""
    if interval is None:
        return Cell(text=MISSING, note="No match of this cell has a result.", marks=(*marks, "missing"))
    return Cell(
        text=percent(interval),
        value=interval.mean,
        note=of_interval(interval),
        marks=marks,
    )


def of_interval(interval: Interval) -> str:
    """Return what an interval says in words."""
    ends = percent_range(interval)
    seeds = f"{interval.n} seed" + ("" if interval.n == 1 else "s")
    if ends:
        kind = "approximate 95 % interval" if interval.approximate else "95 % interval"
        return f"{100 * interval.mean:.1f} %, {kind} {ends}, {seeds}"
    values = ", ".join(f"{100 * value:.1f}" for value in interval.values)
    return f"{100 * interval.mean:.1f} %, {seeds}, no interval" + (f": {values}" if values else "")
