"""Tables of what defenses serve and of what clones get wrong, for a terminal."""

from __future__ import annotations

from rich.console import RenderableType

from arena.report.findings import Findings
from arena.report.rich_tables import add_row, table_of, titled
from arena.report.sentences import percent, percent_of

SMALLEST_P = 1e-4  # smaller ones are shown as below this


def deployed_table(found: Findings) -> RenderableType | None:
    """Return the fidelity to what is served, for defenses that decide otherwise than the victim, or None."""
    if not found.deployed:
        return None
    numbers = ["to the victim", "to what is served", "victim right", "served right"]
    table = table_of("defense", "attack", numbers=numbers)
    for row in found.deployed:
        both = map(percent, (row.to_victim, row.to_deployed))
        right = map(percent_of, (row.victim_right, row.served_right))
        add_row(table, row.defense.name, row.attack.name, *both, *right)
    return titled(
        "Defenses that decide otherwise than the victim",
        table,
        caption="Fidelity of the best track, %, to the undefended victim and to the decisions of the deployed defense; the "
        "payoff is the larger one. Right: test rows, %, that the victim and the deployed defense classify correctly; a "
        "refused row is not served right.",
    )


def map_table(found: Findings) -> RenderableType | None:
    """Return the Average Drop of the maps that are served beside the victim's own, or None without explanations."""
    if not found.maps:
        return None
    numbers = ["own", "served", "difference", "p different", "p equal", "moved", "blank"]
    table = table_of("defense", "explanation", numbers=numbers)
    for row in found.maps:
        add_row(
            table,
            row.defense.name,
            row.explanation,
            f"{100 * row.own:.1f} ±{100 * row.own_deviation:.1f}",
            f"{100 * row.served:.1f} ±{100 * row.served_deviation:.1f}",
            f"{100 * row.difference:+.1f}\n{100 * row.low:+.1f} to {100 * row.high:+.1f}",
            _p(row.different),
            _p(row.equivalent),
            f"{row.moved.hits} of {row.moved.total}",
            f"{row.blank.hits} of {row.blank.total}",
        )
    return titled(
        "Explanations that are served",
        table,
        caption=f"Average Drop, %, of maps as explanations of the undefended victim, on test images of {found.setting.victim}: "
        "mean ± standard deviation over images, mean over seeds; a smaller one explains better. Difference: served minus the "
        "victim's own, image by image, with its 95 % interval. p different: Wilcoxon's test; p equal: two one-sided tests for a difference within 5 "
        "points; the largest over seeds. Moved: images on which another class or none is served, which are not compared. Blank: those of "
        "the others whose served map is constant, and so explains nothing, although the victim's own is not.",
    )


def error_table(found: Findings) -> RenderableType | None:
    """Return R_test and R_unif of the best clone of each cell, or None if no match has a clone."""
    if not found.errors:
        return None
    numbers = ["R_test\n0-1", "R_test\nTV", "R_unif\n0-1", "R_unif\nTV"]
    table = table_of("attack", "defense", "track", numbers=numbers)
    for row in found.errors:
        shares = (row.test, row.test_distance, row.uniform, row.uniform_distance)
        add_row(table, row.attack.name, row.defense.name, row.track, *map(percent_of, shares))
    return titled(
        "What the best clones get wrong, %",
        table,
        caption="R_test, R_unif: on test rows and on uniform inputs, the share that the clone decides otherwise than the "
        "victim (0-1), and the mean total variation distance of their posteriors (TV); pooled over seeds.",
    )


def _p(value: float) -> str:
    return f"< {SMALLEST_P:g}" if value < SMALLEST_P else f"{value:.4f}"
