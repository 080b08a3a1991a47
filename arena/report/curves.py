"""The trade-off of swept defenses as a figure: the accuracy of honest answers against that of the best clone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arena.contracts import MatchResult, UnknownName
from arena.metrics.intervals import Interval
from arena.payoff.matrix import matrices
from arena.payoff.tradeoff import Point, TradeOff, tradeoffs

INCHES = (9.0, 4.0)
DOTS_AN_INCH = 144


def draw_curves(results: Sequence[MatchResult], path: Path) -> None:
    """Write a figure with one row per matrix: clone accuracy over defended accuracy, and over the mean L1 shift.

    The format follows the name: png, pdf, svg. Raises `UnknownName` if nothing was swept.
    """
    found = [(matrix, curves) for matrix in matrices(results) if (curves := tradeoffs(matrix))]
    if not found:
        message = "no defense was played with several values of a parameter: set sweep = true for one"
        raise UnknownName(message)
    figure = Figure(figsize=(INCHES[0], INCHES[1] * len(found)), layout="constrained")
    for (matrix, curves), (by_accuracy, by_shift) in zip(
        found, figure.subplots(len(found), 2, squeeze=False, sharey="row"), strict=True
    ):
        for curve in curves:
            _draw(by_accuracy, curve, [100 * point.defended for point in curve.points])
            _draw(by_shift, curve, [point.l1 or 0.0 for point in curve.points])
        if curves[0].undefended is not None:
            _draw_undefended(by_accuracy, curves[0].undefended, 100 * curves[0].undefended.defended)
            _draw_undefended(by_shift, curves[0].undefended, 0.0)
        terms = matrix.setting
        by_accuracy.set_title(f"{terms.victim}, pool {terms.pool}, {terms.budget:,} rows")
        by_accuracy.set_xlabel("accuracy of honest answers, %")
        by_accuracy.set_ylabel("accuracy of the best clone, %")
        by_shift.set_xlabel("mean L1 shift of honest posteriors")
        by_shift.legend(fontsize="small")
    figure.savefig(path, dpi=DOTS_AN_INCH)


def _draw(axes: Axes, curve: TradeOff, places: Sequence[float]) -> None:
    means = [100 * point.clone.mean for point in curve.points]
    arms = [_arms(point.clone) for point in curve.points]
    axes.errorbar(places, means, yerr=np.array(arms).T, marker="o", label=curve.defense)
    for place, mean, point in zip(places, means, curve.points, strict=True):
        axes.annotate(f"{point.value:g}", (place, mean), textcoords="offset points", xytext=(4, 4), fontsize="x-small")


def _draw_undefended(axes: Axes, point: Point, place: float) -> None:
    arms = np.array([_arms(point.clone)]).T
    axes.errorbar([place], [100 * point.clone.mean], yerr=arms, marker="*", color="black", label="none")


def _arms(interval: Interval) -> tuple[float, float]:
    """Return how far an interval reaches below and above its mean, in points."""
    if interval.low is None or interval.high is None:
        return 0.0, 0.0
    return 100 * (interval.mean - interval.low), 100 * (interval.high - interval.mean)
