"""The figure of fidelity over queries spent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from arena.contracts import UnknownName
from arena.report.findings import Findings
from arena.report.pictures.picture import (
    INK,
    LEGEND_AT_MOST,
    WIDTH,
    Picture,
    canvas,
    cut,
    legend_below,
    look,
    styled,
)
from arena.report.pictures.scatters import arms, shortened
from arena.report.queries import QueryCurve

LINES = ("-", "--", ":", "-.")
TICKS_AT_MOST = 6
PANEL_HEIGHT = 4.2  # inches
DOTS_AN_INCH = 144


@styled
def query_picture(found: Findings, name: str) -> Picture | None:
    """Return fidelity over rows: a colour and marker for each defense, a kind of line for each attack.

    Of more than `LEGEND_AT_MOST` curves, the strongest attack on each defense is shown; the table has all of them.

    Returns None unless some cell was measured after two or more numbers of rows.
    """
    if not measured_curves(found):
        return None
    figure, axes = canvas()
    tips = _draw(axes, found)
    _legend(figure, axes)
    return Picture(name=name, title="Fidelity over the number of queries", figure=figure, tips=tips)


@styled
def draw_queries(every: Sequence[Findings], path: Path) -> None:
    """Write a figure with a panel of fidelity over queries for each setting; the format follows the name of the file.

    Raises `UnknownName` if no clone was scored before the last query.
    """
    drawn = [found for found in every if measured_curves(found)]
    if not drawn:
        message = "no clone was scored before the last query: set curve = [50, 100] in the tournament's file"
        raise UnknownName(message)
    figure = Figure(figsize=(WIDTH * len(drawn), PANEL_HEIGHT), layout="constrained")
    parts = figure.subfigures(1, len(drawn), squeeze=False)
    for part, found in zip(parts.flat, drawn, strict=True):
        axes = part.subplots()
        _draw(axes, found)
        axes.set_title(f"{found.setting.words}\n{axes.get_title()}")
        _legend(part, axes)
    figure.savefig(path, dpi=DOTS_AN_INCH)


def measured_curves(found: Findings) -> list[QueryCurve]:
    """Return the cells that were measured after two or more numbers of rows."""
    return [curve for curve in found.queries if len(curve.points) > 1]


def _draw(axes: Axes, found: Findings) -> dict[str, str]:
    """Draw the curves with everything but a legend, and return what is said about each."""
    measured = measured_curves(found)
    strongest = measured if len(measured) <= LEGEND_AT_MOST else _strongest(measured)
    curves = strongest[:LEGEND_AT_MOST]
    attacks = list(dict.fromkeys(curve.attack.name for curve in curves))
    defenses = list(dict.fromkeys(curve.defense.name for curve in curves))
    tips = {}
    for number, curve in enumerate(curves):
        kind, colour = attacks.index(curve.attack.name), defenses.index(curve.defense.name)
        rows = [point.rows for point in curve.points]
        fidelities = [100 * point.fidelity.mean for point in curve.points]
        style, line = look(colour), LINES[kind % len(LINES)]
        axes.errorbar(
            rows,
            fidelities,
            yerr=arms([point.fidelity for point in curve.points]),
            linewidth=0.6,
            color=style.colour,
            linestyle="none",
        )
        (drawn,) = axes.plot(rows, fidelities, color=style.colour, marker=style.marker, linestyle=line, markersize=4.5)
        part = f"curve{number}"
        drawn.set_gid(part)
        values = "; ".join(f"{one:.1f} % after {many:,} rows" for many, one in zip(rows, fidelities, strict=True))
        tips[part] = f"{curve.attack.name} against {curve.defense.name}: {values}"
    _name_axes(axes, sorted({point.rows for curve in curves for point in curve.points}))
    title = "Fidelity over queries" if strongest is measured else "Strongest attack on each defense"
    axes.set_title(cut(title, len(curves), len(strongest), "defenses"))
    _label(axes, attacks, defenses)
    return tips


def _name_axes(axes: Axes, places: Sequence[int]) -> None:
    axes.set_xlabel("rows queried")
    if len(places) <= TICKS_AT_MOST:
        axes.set_xticks(places)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=TICKS_AT_MOST))
    axes.set_ylabel("fidelity of track A, %")


def _legend(figure: FigureBase, axes: Axes) -> None:
    legend_below(figure, entries=len(axes.get_legend_handles_labels()[1]))


def _label(axes: Axes, attacks: Sequence[str], defenses: Sequence[str]) -> None:
    """Add an entry to the legend for each defense, by colour and marker, and for each attack, by kind of line."""
    for place, name in enumerate(defenses):
        style = look(place)
        axes.plot([], [], color=style.colour, marker=style.marker, linestyle="none", label=shortened(name))
    for place, name in enumerate(attacks):
        axes.plot([], [], color=INK, linestyle=LINES[place % len(LINES)], label=shortened(name))


def _strongest(curves: Sequence[QueryCurve]) -> list[QueryCurve]:
    """Return, for each defense, the curve that ends highest: so many curves cannot be told from one another."""
    best: dict[str, QueryCurve] = {}
    for curve in curves:
        before = best.get(curve.defense.label)
        if before is None or curve.points[-1].fidelity.mean > before.points[-1].fidelity.mean:
            best[curve.defense.label] = curve
    return list(best.values())
