"""Tables about defenses for a terminal: what they knew and cost, and their trade-offs."""

from __future__ import annotations

import itertools

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from arena.metrics.decision_cost import unseen_at_most
from arena.payoff.cost import SCORES_BOUND, Cost
from arena.report.findings import DefenseRow, Findings, GroupRows, MatchedLoss, SweptDefense
from arena.report.payoff_tables import fewer_seeds, starred
from arena.report.rich_tables import add_row, table_of, titled
from arena.report.sentences import of_ranks, percent_and_range, points


def defense_table(found: Findings) -> RenderableType:
    """Return one row per defense, in the groups that are ranked: knowledge, cost to honest users, worst case and rank."""
    table = table_of("defense", "knew", numbers=["lost", "flipped", "L1", "Brier", "worst case", "rank"])
    table.columns[0].no_wrap = True  # what a defense knew may take several lines, its name may not
    for ranked in found.groups:
        _add_section(table, _group_name(ranked), ranked.rows)
    for reason, rows in itertools.groupby(sorted(found.set_apart, key=_reason), key=_reason):
        _add_section(table, f"not ranked: {reason}", tuple(rows))
    return titled("What each defense knew and cost", table, caption=_caption(found))


def _add_section(table: Table, name: str, rows: tuple[DefenseRow, ...]) -> None:
    table.add_row(Text(name, style="bold"))
    for row in rows:
        add_row(table, *_cells(row))
    table.add_section()


def _reason(row: DefenseRow) -> str:
    return row.not_ranked


def _caption(found: Findings) -> str:
    resolved = [
        f"{points(one.group.resolved)} in {_group_name(one)}" for one in found.groups if one.group.resolved is not None
    ]
    rows = [row for one in found.groups for row in one.rows] + list(found.set_apart)
    parts = [
        "Lost: points of accuracy lost on honest images, with refusals counted as wrong; ~ names a division whose border is "
        "inside the interval",
        "flipped: changed decisions, or the number of images without any and the share that this leaves possible",
        "L1, Brier: mean shift and Brier cost of honest posteriors",
        f"scores kept: a mean L1 of at most {SCORES_BOUND:g}, and not one-hot",
        "worst case: the largest mean over attacks, with its 95 % interval and the attack",
    ]
    if resolved:
        parts.append(f"rank: by worst case; {of_ranks(', '.join(resolved))}")
    unrecorded = any(row.cost.images is None for row in rows)
    return (
        "; ".join(parts)
        + "."
        + fewer_seeds(min((one.group.seeds for one in found.groups), default=found.seeds), found, "Worst case and rank")
        + (" Outcomes by image were not recorded, so the intervals of lost are conservative." if unrecorded else "")
    )


def _group_name(ranked: GroupRows) -> str:
    return f"{ranked.group.division}, {ranked.group.score_class}"


def _cells(row: DefenseRow) -> list[str]:
    cost, standing = row.cost, row.standing
    knew = "\n".join(row.knew).replace("-architecture", "-\narchitecture") or "nothing"
    borders = " ".join(f"~{border}" for border in cost.borders)
    return [
        f"  {starred(row.defense)}",
        f"{knew} (leak)" if row.leak else knew,
        f"{100 * cost.decisions:.1f} ±{100 * cost.half:.1f}" + (f"\n{borders}" if borders else ""),
        _flipped(cost),
        "-" if cost.l1 is None else f"{cost.l1:.2f}",
        "-" if row.brier_cost is None else f"{row.brier_cost:+.3f}",
        f"{percent_and_range(standing.worst_case.interval)}\n{row.worst_attack}",
        "-" if standing.ranks is None else str(standing.ranks),
    ]


def _flipped(cost: Cost) -> str:
    """Return the share of changed decisions, or the number of images without any and the upper bound that it implies."""
    if cost.changed or cost.images is None:
        return f"{100 * cost.changed / cost.rows:.2f} %"
    return f"0 of {cost.images:,}\n< {100 * unseen_at_most(cost.images):.2g} %"


def tradeoff_table(found: Findings) -> RenderableType | None:
    """Return each swept defense over its parameter, or None if nothing was swept."""
    if not found.swept:
        return None
    table = table_of("defense", "value", "best attack", numbers=["defended accuracy", "L1", "clone accuracy"])
    for swept in found.swept:
        for point, attack in zip(swept.curve.points, swept.best_attacks, strict=True):
            add_row(
                table,
                swept.curve.defense,
                f"{swept.curve.parameter} = {point.value:g}",
                attack,
                f"{100 * point.defended:.1f}",
                "-" if point.l1 is None else f"{point.l1:.2f}",
                percent_and_range(point.clone),
            )
        table.add_section()
    return titled(
        "Trade-off of each swept defense",
        table,
        *(Text(_lowest(swept)) for swept in found.swept),
        caption="Accuracy, %, of honest answers and of the best attack's best clone; its interval accounts for the selection "
        "of the attack. The lowest clone accuracy is over the undefended victim and all swept values that cost honest users "
        "at most so much; its interval also accounts for the selection of the value.",
    )


def _lowest(swept: SweptDefense) -> str:
    """Return the lowest clone accuracy for each allowed loss of honest accuracy."""
    found = "; ".join(_lowest_at(swept, one) for one in swept.least)
    return f"{swept.curve.defense}, lowest clone accuracy: {found}."


def _lowest_at(swept: SweptDefense, one: MatchedLoss) -> str:
    value = "undefended" if one.value is None else f"{swept.curve.parameter} = {one.value:g}"
    return f"{percent_and_range(one.clone)} ({value}) if honest users may lose {100 * one.allowed:g} points"
