"""The comparison of two tournaments: a sentence that sums it up, and tables."""

from __future__ import annotations

from arena.metrics.intervals import MIN_SEEDS
from arena.report.movement import Cell as Place
from arena.report.movement import Movement, Movements
from arena.report.rich_tables import counted
from arena.report.sheets import Cell, Sheet, heads, number, p_value, share, words


def verdict(found: Movements) -> str:
    """Return in words what moved, and what could not be compared."""
    worse, moved = len(found.worse), len(found.moved)
    tested = len(found.found) - len(found.untested)
    parts = [
        f"{counted(len(found.found), 'number')} compared, {tested:,} of them tested: {moved:,} moved, {worse:,} for the worse"
    ]
    if found.untested:
        parts.append(f"{len(found.untested):,} not tested, because fewer than {MIN_SEEDS} seeds were played")
    for cells, which in ((found.only_before, "first"), (found.only_after, "second")):
        if cells:
            parts.append(f"{counted(len(cells), 'cell')} only in the {which} tournament")
    return "; ".join(parts) + "."


def movement_sheet(found: Movements, *, everything: bool) -> Sheet:
    """Return what moved, or ``everything`` that was compared, the largest movements first."""
    shown = found.found if everything else found.moved
    several = len({one.setting for one in found.found}) > 1
    unpaired = sum(not one.paired for one in shown)
    setting = ("setting",) if several else ()
    return Sheet(
        name="movements",
        title="What was compared" if everything else "What moved",
        caption=(
            "Fidelity of the best clone in %, and accuracy that honest users lose in points; for the owner of a model, more "
            "is worse. Difference: after minus before, with its 95 % interval, "
            + (f"paired by seed except for {unpaired} rows without common seeds. " if unpaired else "paired by seed. ")
            + "p: t test; moved: after Holm's correction over everything that was tested, at a family-wise level of 5 %. d: "
            "effect size, the paired difference in standard deviations over seeds (Cohen's d)."
        ),
        heads=heads(*setting, "attack", "defense", "what", numbers=("before", "after", "difference", "p", "d"))
        + heads("moved"),
        rows=tuple(((words(_setting(one)),) if several else ()) + _row(one) for one in shown),
    )


def missing_sheet(cells: tuple[Place, ...], *, only: str) -> Sheet:
    """Return the cells that only one tournament has, so that they could not be compared."""
    return Sheet(
        name=f"only-{only}",
        title=f"Only in the {only} tournament",
        caption="These cells could not be compared.",
        heads=heads("setting", "attack", "defense"),
        rows=tuple((words(_setting(one)), words(one.attack), words(one.defense)) for one in cells),
    )


def _row(one: Movement) -> tuple[Cell, ...]:
    low, high = one.difference.low, one.difference.high
    ends = "" if low is None or high is None else f" ({100 * low:+.1f} to {100 * high:+.1f})"
    moved = ("worse" if one.worse else "better") if one.moved else ("no" if one.tested else "not tested")
    return (
        words(one.attack_name or "all"),
        words(one.defense_name),
        words(one.measured),
        share(one.before),
        share(one.after),
        Cell(text=f"{100 * one.difference.mean:+.1f}{ends}", value=one.difference.mean),
        p_value(one.p_value) if one.tested else words(""),
        number(one.size, "{:+.1f}"),
        words(moved),
    )


def _setting(one: Movement | Place) -> str:
    return f"{one.setting.victim}, {one.setting.pool}, {one.setting.budget:,}"
