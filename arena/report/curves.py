"""The trade-off of swept defenses as a figure: the accuracy of honest answers against that of the best clone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arena.contracts import MatchResult, UnknownName
from arena.metrics.intervals import Interval, share_interval
from arena.payoff.matrix import matrices
from arena.payoff.tradeoff import Point, TradeOff, tradeoffs

PANEL_INCHES = (4.5, 4.0)
DOTS_AN_INCH = 144


def draw_curves(results: Sequence[MatchResult], path: Path) -> None:
    """Write a figure with one row per matrix: the accuracy of clones against that of what honest users are served.

    The first panels show the best clone of all attacks, over the defended accuracy and over the mean L1 shift. If there
    are several attacks, each has a panel of its own after them. On the diagonal, a clone is as accurate as the defended
    victim. The format follows the name: png, pdf, svg. Raises `UnknownName` if nothing was swept.
    """
    found = [(matrix, curves) for matrix in matrices(results) if (curves := tradeoffs(matrix))]
    if not found:
        message = "no defense was played with several values of a parameter: set sweep = true for one"
        raise UnknownName(message)
    alone = max(len(attacks) if len(attacks := _attacks(curves)) > 1 else 0 for _, curves in found)
    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * (2 + alone), height * len(found)), layout="constrained")
    rows = figure.subplots(len(found), 2 + alone, squeeze=False, sharey="row")
    for (matrix, curves), (by_accuracy, by_shift, *panels) in zip(found, rows, strict=True):
        _draw_best(curves, by_accuracy, by_shift)
        terms = matrix.setting
        by_accuracy.set_title(f"{terms.victim}, pool {terms.pool}, {terms.budget:,} rows: best attack")
        attacks = _attacks(curves) if panels else []
        for attack, panel in zip(attacks, panels, strict=False):
            _draw_alone(curves, attack, panel)
            panel.set_title(matrix.short(attack))
        for unused in panels[len(attacks) :]:
            unused.set_axis_off()
        by_shift.legend(fontsize="small")
    figure.savefig(path, dpi=DOTS_AN_INCH)


def _attacks(curves: Sequence[TradeOff]) -> list[str]:
    """Return the attacks that met the swept defenses, in the order of their names."""
    return sorted({attack for curve in curves for point in curve.points for attack in point.clones})


def _draw_best(curves: Sequence[TradeOff], by_accuracy: Axes, by_shift: Axes) -> None:
    for curve in curves:
        clones = [point.clone for point in curve.points]
        _draw(by_accuracy, curve.defense, [100 * point.defended for point in curve.points], clones, curve.points)
        _draw(by_shift, curve.defense, [point.l1 or 0.0 for point in curve.points], clones, curve.points)
    if curves[0].undefended is not None:
        _draw_undefended(by_accuracy, 100 * curves[0].undefended.defended, curves[0].undefended.clone)
        _draw_undefended(by_shift, 0.0, curves[0].undefended.clone)
    _finish(by_accuracy)
    by_accuracy.set_ylabel("accuracy of the best clone, %")
    by_shift.set_xlabel("mean L1 shift of honest posteriors")


def _draw_alone(curves: Sequence[TradeOff], attack: str, axes: Axes) -> None:
    """Draw the curves of all defenses against one attack."""
    for curve in curves:
        met = [point for point in curve.points if attack in point.clones]
        clones = [share_interval(list(point.clones[attack].values()), images=curve.images) for point in met]
        _draw(axes, curve.defense, [100 * point.defended for point in met], clones, met)
    start = curves[0].undefended
    if start is not None and attack in start.clones:
        clone = share_interval(list(start.clones[attack].values()), images=curves[0].images)
        _draw_undefended(axes, 100 * start.defended, clone)
    _finish(axes)


def _finish(axes: Axes) -> None:
    """Draw the diagonal, on which a clone is as accurate as the defended victim, and name the axis."""
    axes.axline((100, 100), slope=1, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel("accuracy of honest answers, %")


def _draw(axes: Axes, name: str, places: Sequence[float], clones: Sequence[Interval], points: Sequence[Point]) -> None:
    means = [100 * clone.mean for clone in clones]
    arms = np.array([_arms(clone) for clone in clones]).reshape(-1, 2).T
    axes.errorbar(places, means, yerr=arms, marker="o", label=name)
    for place, mean, point in zip(places, means, points, strict=True):
        axes.annotate(f"{point.value:g}", (place, mean), textcoords="offset points", xytext=(4, 4), fontsize="x-small")


def _draw_undefended(axes: Axes, place: float, clone: Interval) -> None:
    axes.errorbar([place], [100 * clone.mean], yerr=np.array([_arms(clone)]).T, marker="*", color="black", label="none")


def _arms(interval: Interval) -> tuple[float, float]:
    """Return how far an interval reaches below and above its mean, in points."""
    if interval.low is None or interval.high is None:
        return 0.0, 0.0
    return 100 * (interval.mean - interval.low), 100 * (interval.high - interval.mean)
