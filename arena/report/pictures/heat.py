"""The payoff matrix as a heat map for a paper; on the page, the table itself is the heat map."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import Rectangle

from arena.report.findings import Findings
from arena.report.pictures.picture import INK, Picture, canvas, styled
from arena.report.pictures.scatters import shortened

COLUMN_INCHES, CELL_ROW_INCHES = 0.85, 0.42
DARK = 0.6  # from this value on, the text of a cell is white


@styled
def heat_picture(found: Findings, name: str) -> Picture:
    """Return fidelity by attack and defense, the worst cases outlined, cells without a significant effect hatched."""
    attacks, defenses = len(found.attacks), len(found.defenses)
    figure, axes = canvas(width=2.0 + COLUMN_INCHES * defenses, height=1.4 + CELL_ROW_INCHES * attacks)
    means = [[np.nan if cell is None else cell.mean for cell in row.cells] for row in found.attacks]
    axes.grid(visible=False)
    axes.imshow(np.array(means, dtype=float), cmap="cividis_r", vmin=0, vmax=1, aspect="auto")
    undecided = found.undecided
    for row, attack in enumerate(found.attacks):
        for column, cell in enumerate(attack.cells):
            if cell is None:
                axes.text(column, row, "missing", ha="center", va="center", color=INK, fontsize=7)
                continue
            colour = "white" if cell.mean > DARK else "black"
            half = "" if cell.half is None else f"\n±{100 * cell.half:.1f}"
            axes.text(column, row, f"{100 * cell.mean:.1f}{half}", ha="center", va="center", color=colour, fontsize=7)
            corner = (column - 0.5, row - 0.5)
            if (attack.attack.label, found.defenses[column].label) in undecided:
                axes.add_patch(
                    Rectangle(corner, 1, 1, fill=False, hatch="////", edgecolor=colour, linewidth=0, alpha=0.35)
                )
            if found.is_worst(attack.attack.label, column):
                axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="#D55E00", linewidth=2.5))
    axes.set_xticks(range(defenses), [shortened(one.name) for one in found.defenses], rotation=30, ha="right")
    axes.set_yticks(range(attacks), [shortened(one.attack.name) for one in found.attacks])
    axes.set_title("Fidelity of the best clone, %")
    return Picture(name=name, title="Fidelity of the best clone by attack and defense", figure=figure, on_page=False)
