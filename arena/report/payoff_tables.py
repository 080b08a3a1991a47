"""The payoff matrix as a table for a terminal: attacks by defenses, with worst cases and the equilibrium."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table

from arena.metrics.intervals import Interval
from arena.payoff.mixture import Spread
from arena.report.findings import Findings
from arena.report.players import Player
from arena.report.rich_tables import GUTTER, add_row, counted, table_of, titled
from arena.report.sentences import of_ranks, percent, percent_of, percent_range, points

PAGE = 100  # the largest number of characters in a line of a table
RANK_COLUMN, STEPS_COLUMN = len("10-19"), len("100,000")
FLOOR_ROW = "no queries"  # the clone that made none


def payoff_table(found: Findings) -> RenderableType:
    """Return attacks by defenses: the mean payoff in percent with its 95 % interval over seeds.

    Defenses that do not fit into `PAGE` characters go into further tables. The first table ends with the attacks' own
    scores, ranks and training steps.
    """
    first, *others = _pages(found)
    return titled(
        _title(found),
        _page(found, first, own=True),
        *(_page(found, page, own=False) for page in others),
        caption=_caption(found),
    )


def starred(player: Player) -> str:
    """Return a player's name, with a star if it is a yardstick."""
    return player.name + (" *" if player.yardstick else "")


def fewer_seeds(seeds: int, found: Findings, what: str) -> str:
    """Return a sentence about what was computed over fewer seeds than were played, or an empty string."""
    return "" if seeds == found.seeds else f" {what}: over the {counted(seeds, 'seed')} that all of them have."


def _page(found: Findings, page: Sequence[int], *, own: bool) -> Table:
    heads = [_header(found.defenses[place]) for place in page]
    table = table_of("attack", numbers=heads + ["own", "rank", "steps"] * own)
    for row in found.attacks:
        cells = [_with_values(row.cells[place]) for place in page]
        ranks = "-" if row.ranks is None else str(row.ranks)
        steps = "-" if row.steps is None else f"{row.steps:,.0f}"
        add_row(table, starred(row.attack), *cells, *((_with_values(row.own), ranks, steps) if own else ()))
    table.add_section()
    for name, places in _closing_rows(found):
        add_row(table, name, *(places[place] for place in page))
    return table


def _closing_rows(found: Findings) -> list[tuple[str, list[str]]]:
    """Return the rows below the attacks, with one cell per defense: worst cases, equilibrium, and the floor."""
    rows: list[tuple[str, list[str]]] = []
    for worst in found.worst_cases:
        cases = [cell.interval if cell else None for cell in worst.cells]
        means = ["missing" if case is None else percent_of(case.mean) for case in cases]
        rows.append((f"  {worst.over}" if worst.over else "worst case", means))
        if any(percent_range(case) for case in cases):
            rows.append(("  95 %", [percent_range(case) for case in cases]))
    mixed, labels = found.equilibrium, [defense.label for defense in found.defenses]
    if mixed is not None:
        rows.append(("equilibrium", [_share(mixed.defenses.get(label)) for label in labels]))
        if mixed.resampled is not None:
            rows.append(("  resampled", [_spread(mixed.resampled.defenses.get(label)) for label in labels]))
    rows.append((FLOOR_ROW, [percent_of(floor) for floor in found.floors]))
    return rows


def _with_values(interval: Interval | None) -> str:
    """Return a cell: the mean with its interval, and below it the values if there are too few for an interval."""
    values = interval.values if interval is not None and len(interval.values) > 1 else ()
    return percent(interval) + ("\n" + " ".join(percent_of(value) for value in values) if values else "")


def _pages(found: Findings) -> list[list[int]]:
    """Return the places of the defenses in groups whose columns fit on one page."""
    closing = _closing_rows(found)
    names = [*(starred(row.attack) for row in found.attacks), *(name for name, _ in closing)]
    room = PAGE - max(map(len, names))
    pages: list[list[int]] = [[]]
    left = room - 3 * GUTTER - _width([_with_values(row.own) for row in found.attacks]) - RANK_COLUMN - STEPS_COLUMN
    for place, defense in enumerate(found.defenses):
        cells = [_with_values(row.cells[place]) for row in found.attacks] + [cells[place] for _, cells in closing]
        width = GUTTER + _width([_header(defense), *cells])
        if pages[-1] and width > left:
            pages.append([])
            left = room
        pages[-1].append(place)
        left -= width
    return pages


def _width(cells: Sequence[str]) -> int:
    return max((len(line) for cell in cells for line in cell.split("\n")), default=0)


def _title(found: Findings) -> str:
    setting = found.setting
    return (
        f"Fidelity of the best clone, %: victim {setting.victim}, pool {setting.pool}, {setting.budget:,} rows, "
        f"{found.told}"
    )


def _caption(found: Findings) -> str:
    ranked, mixed = found.ranked_attacks, found.equilibrium
    parts = [
        "Each match scores the best of tracks A, A-hard and B",
        "* yardstick",
        "own: the attack's own clone, mean over defenses",
        "steps: training steps of all of the attack's networks",
        "worst case: the largest mean over attacks",
    ]
    if mixed is not None:
        words = "equilibrium: the defender's mixed strategy of maximum entropy"
        varied = "" if mixed.resampled is None else ", with the middle 95 % over resampled seeds below"
        parts.append(f"{words}{varied}; expected payoff {100 * mixed.value:.1f} %")
    if ranked.resolved is not None:
        parts.append(f"rank: by own; {of_ranks(points(ranked.resolved))}")
    return "; ".join(parts) + "." + fewer_seeds(ranked.seeds, found, "Own and rank")


def _header(defense: Player) -> str:
    """Return a column's header, with any parameters on lines of their own."""
    name = starred(defense).replace(" +", "\n+")
    return name.replace(")", "").replace("(", "\n").replace(", ", "\n")


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    low, high = (f"{100 * end:.0f}" for end in (spread.low, spread.high))
    return f"{low} %" if low == high else f"{low}-{high} %"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
