"""Figures with a point for each defense: protection against honest cost, and the accuracy of clones against it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from arena.metrics.intervals import Interval
from arena.report.cells import ProtectionPoint
from arena.report.findings import Findings
from arena.report.pictures.picture import INK, Picture, canvas, legend_below, look, styled

NARROW = 1.0  # points or L1: an axis shows at least so much
APART = 0.02  # of an axis, between points at the same place

Place = Callable[[ProtectionPoint], float | None]


@styled
def protection_pictures(found: Findings, name: str) -> tuple[Picture, ...]:
    """Return the pictures of one setting: fidelity over lost accuracy and over the L1 shift, and the accuracies."""
    points = found.protection
    if not points:
        return ()
    return (
        _fidelity_over(
            found, f"{name}-decisions", lambda one: 100 * one.cost.decisions, "honest accuracy lost, points"
        ),
        _fidelity_over(found, f"{name}-scores", lambda one: one.cost.l1, "mean L1 shift of honest posteriors"),
        _accuracies(found, f"{name}-accuracy"),
    )


def _fidelity_over(found: Findings, name: str, place: Place, label: str) -> Picture:
    figure, axes = canvas()
    tips = {}
    places = side_by_side([place(point) for point in found.protection])
    for number, (point, where) in enumerate(zip(found.protection, places, strict=True)):
        if where is None:
            continue
        part = f"point{number}"
        tips[part] = (
            f"{point.defense.name}: fidelity {100 * point.fidelity.mean:.1f} % in the worst case ({point.worst_attack}), "
            f"{label} {place(point):.2f}"
        )
        _draw(axes, where, point.fidelity, point.defense.name, number, part)
    axes.set_xlabel(label)
    axes.set_ylabel("fidelity in the worst case, %")
    axes.set_title("Lower left is better")
    known = [one for one in places if one is not None]
    if known and max(known) - min(known) < NARROW / 2:
        axes.set_xlim(-NARROW / 2 + min(known), NARROW + min(known))
    legend_below(figure, entries=len(tips))
    return Picture(name=name, title=f"Protection against {label}, one point per defense", figure=figure, tips=tips)


def _accuracies(found: Findings, name: str) -> Picture:
    """Draw the accuracy of the best clone against that of honest answers; the points of a swept defense are joined."""
    figure, axes = canvas()
    tips = {}
    for curve in found.swept:
        swept = [100 * point.defended for point in curve.curve.points]
        axes.plot(swept, [100 * point.clone.mean for point in curve.curve.points], color=INK, linewidth=0.7, zorder=1)
    places = side_by_side([None if one.defended is None else 100 * one.defended for one in found.protection])
    for number, (point, place) in enumerate(zip(found.protection, places, strict=True)):
        if point.defended is None or point.clone is None or place is None:
            continue
        part = f"point{number}"
        tips[part] = (
            f"{point.defense.name}: honest answers {100 * point.defended:.1f} % right, best clone "
            f"{100 * point.clone.mean:.1f} % right"
        )
        _draw(axes, place, point.clone, point.defense.name, number, part)
    ends = axes.get_xlim()
    axes.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":", scalex=False, scaley=False)
    axes.set_xlabel("accuracy of honest answers, %")
    axes.set_ylabel("accuracy of the best clone, %")
    axes.set_title("Lower right is better; dotted: equal")
    legend_below(figure, entries=len(tips))
    title = "Accuracy of the best clone against the accuracy of honest answers, one point per defense"
    return Picture(name=name, title=title, figure=figure, tips=tips)


def _draw(axes: Axes, place: float, interval: Interval, label: str, number: int, part: str) -> None:
    style = look(number)
    axes.errorbar([place], [100 * interval.mean], yerr=arms([interval]), color=style.colour, linewidth=0.9, zorder=2)
    (dots,) = axes.plot(
        [place],
        [100 * interval.mean],
        linestyle="none",
        markersize=6,
        label=shortened(label),
        zorder=3,
        color=style.colour,
        marker=style.marker,
    )
    dots.set_gid(part)


def arms(intervals: Sequence[Interval]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return how far intervals reach below and above their means, in points: (2, N), zeros without an interval."""
    found = [
        (0.0, 0.0) if one.low is None or one.high is None else (100 * (one.mean - one.low), 100 * (one.high - one.mean))
        for one in intervals
    ]
    return np.maximum(np.array(found, dtype=np.float64).reshape(-1, 2).T, 0.0)


def side_by_side(places: Sequence[float | None]) -> list[float | None]:
    """Return places along an axis with equal ones moved apart by a fraction of the axis, so that none hides another.

    A place that is not finite cannot be drawn: it becomes None.
    """
    known = [place for place in places if place is not None and math.isfinite(place)]
    step = APART * max(NARROW, max(known, default=0.0) - min(known, default=0.0))
    moved: list[float | None] = []
    for number, place in enumerate(places):
        if place is None or not math.isfinite(place):
            moved.append(None)
            continue
        same = [other for other, where in enumerate(places) if where is not None and abs(where - place) < step]
        moved.append(place + step * (same.index(number) - (len(same) - 1) / 2))
    return moved


LABEL_CHARACTERS = 26


def shortened(name: str) -> str:
    """Return a name for a legend or an axis; a leading underscore would hide it from matplotlib's legend."""
    name = name if len(name) <= LABEL_CHARACTERS else f"{name[: LABEL_CHARACTERS - 3]}..."
    return f" {name}" if name.startswith("_") else name
