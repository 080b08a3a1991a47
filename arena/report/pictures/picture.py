"""A figure with its description and what a reader sees over its points, and how it is written as SVG and PDF.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), without black and yellow, which vanish on a dark
or a light page. They differ in lightness too, and every series has a marker of its own, so that a figure also holds in
grey print and for readers who do not tell these colours apart.
"""

from __future__ import annotations

import functools
import html
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure, FigureBase

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "h")
INK, RULE, PAPER = "#101010", "#cfcfcf", "#fefefe"
"""Stand for the page's own colours, which differ in the dark: text, lines of a grid, background."""
WIDTH, HEIGHT = 4.0, 3.3  # inches: as wide as a column of a paper, and readable on a telephone
LEGEND_AT_MOST = 24  # entries; where there are more, the table is the legend
ROWS_AT_MOST = 40  # rows of a figure with a row for each player or cell
ROW_INCHES = 0.2
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica", "sans-serif"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": RULE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.facecolor": "none",
    "legend.edgecolor": RULE,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "text.parse_math": False,
}
_PAGE_COLOURS = {INK: "currentColor", RULE: "var(--rule)", PAPER: "var(--paper)"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A figure; ``tips`` maps the ids of its parts to what is said about them. ``on_page`` is whether the page has it."""

    name: str  # unique in a report, of letters, digits and hyphens; the name of its files
    title: str
    figure: Figure
    tips: Mapping[str, str] = field(default_factory=dict)
    on_page: bool = True


Arguments = ParamSpec("Arguments")
Drawn = TypeVar("Drawn")


def styled(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
    """Let a function draw in the style of the report, in which no text is read as a formula, whatever is in it."""

    @functools.wraps(draw)
    def in_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Drawn:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return in_style


def canvas(*, width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """Return an empty figure of this size in inches and its axes; called by a function that is `styled`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


@dataclass(frozen=True, kw_only=True)
class Look:
    """The colour and the marker of a series."""

    colour: str
    marker: str


def look(place: int) -> Look:
    """Return the look of the series with this number."""
    return Look(colour=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)])


def cut(title: str, shown: int, total: int, what: str = "rows") -> str:
    """Return a title that says so if not everything is shown."""
    return title if shown == total else f"{title}: the first {shown} of {total} {what}"


def legend_below(figure: FigureBase, *, entries: int, columns: int = 2) -> None:
    """Put a legend below the axes, unless it would have too many entries."""
    if 1 < entries <= LEGEND_AT_MOST:
        figure.legend(loc="outside lower center", ncols=columns, frameon=False)


def svg(picture: Picture) -> str:
    """Return a picture as an SVG file of its own, the same bytes each time, in black on a transparent page."""
    return _written(picture)


def inline_svg(picture: Picture) -> str:
    """Return an SVG element for a page: its colours follow the page's, and its parts can be focused and have titles.

    What comes from results is escaped. Ids are made unique by the name of the picture.
    """
    text = _written(picture)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    for colour, words in _PAGE_COLOURS.items():
        text = text.replace(colour, words)
    for part, tip in picture.tips.items():
        said = html.escape(tip, quote=True)
        with_title = f'<g id="{part}" class="point" tabindex="0" role="img" aria-label="{said}"><title>{said}</title>'
        text = text.replace(f'<g id="{part}">', with_title)
    text = re.sub(r'\bid="', f'id="figure-{picture.name}-', text)
    text = re.sub(r"url\(#", f"url(#figure-{picture.name}-", text)
    text = re.sub(r'href="#', f'href="#figure-{picture.name}-', text)
    size = re.search(r'viewBox="[^"]*"', text)
    assert size is not None, "matplotlib writes a viewBox"
    title = html.escape(picture.title, quote=True)
    return re.sub(
        r"<svg[^>]*>",
        lambda _: f'<svg {size[0]} role="group" aria-label="{title}" xmlns:xlink="http://www.w3.org/1999/xlink">',
        text,
        count=1,
    )


def pdf(picture: Picture) -> bytes:
    """Return a picture as a PDF file with embedded fonts, the same bytes each time."""
    data = io.BytesIO()
    with mpl.rc_context(STYLE):
        picture.figure.savefig(data, format="pdf", metadata={"CreationDate": None, "Title": picture.title})
    return data.getvalue()


def _written(picture: Picture) -> str:
    text = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": picture.name}):
        # savefig would draw everything twice: first to find the layout, which drawing finds by itself
        canvas: Any = FigureCanvasSVG(picture.figure)  # its methods have no types
        canvas.print_svg(text, metadata={"Date": None, "Title": picture.title})
    return text.getvalue()
