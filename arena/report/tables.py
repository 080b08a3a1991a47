"""The findings of a tournament as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from arena.contracts import MatchResult, matchup_id
from arena.metrics.decision_cost import unseen_at_most
from arena.metrics.intervals import Interval
from arena.payoff.cost import SCORES_BOUND, Cost
from arena.payoff.matrix import bare_label
from arena.payoff.mixture import Spread
from arena.report.findings import DefenseRow, Findings, GroupRows, MatchedLoss, Player, SweptDefense, findings
from arena.report.rich_tables import GUTTER, add_row, counted, table_of, titled
from arena.report.sentences import percent, percent_and_range, percent_of, percent_range

PAGE = 106  # columns that a table may fill
OWN_COLUMNS = len("  100.0 ±10.0  rank  ")
LONGEST_ROW_NAME = "asked nothing"
SHOWN_FAULTS = 20
SHOWN_ID, SHOWN_REASON = 8, 80  # characters


def tournament_report(results: Sequence[MatchResult]) -> RenderableType:
    """Return every matrix of a tournament with its defenses' costs and what it says."""
    parts: list[RenderableType] = []
    for found in findings(results):
        further = (deployed_table(found), tradeoff_table(found), threat_table(found))
        parts += [
            Text(found.intervals),
            Text(),
            payoff_table(found),
            defense_table(found),
            *(table for table in further if table is not None),
            *(Text(sentence) for sentence in found.sentences),
            Text(),
        ]
    parts += _faults(results)
    return Group(*parts)


def payoff_table(found: Findings) -> RenderableType:
    """Return attacks x defenses: mean payoff in percent, half-width of its 95 % interval over seeds.

    Defenses that `PAGE` columns cannot hold go into a table of their own; the attacks' own scores close the first one.
    """
    first, *others = _pages(found)
    return titled(
        _payoff_title(found),
        _payoff_page(found, first, own=True),
        *(_payoff_page(found, page, own=False) for page in others),
        caption=_payoff_caption(found),
    )


def _payoff_page(found: Findings, page: Sequence[int], *, own: bool) -> Table:
    heads = [_header(found.defenses[place]) for place in page]
    table = table_of("attack", numbers=heads + ["own", "rank"] * own)
    for row in found.attacks:
        cells = [_with_values(row.cells[place]) for place in page]
        ranks = "-" if row.ranks is None else str(row.ranks)
        add_row(table, _starred(row.attack), *cells, *((_with_values(row.own), ranks) if own else ()))
    table.add_section()
    for name, places in _closing_rows(found):
        add_row(table, name, *(places[place] for place in page))
    return table


def _closing_rows(found: Findings) -> list[tuple[str, list[str]]]:
    """Return the rows below the attacks, each a cell a defense: worst cases, equilibrium, the floor."""
    rows: list[tuple[str, list[str]]] = []
    for worst in found.worst_cases:
        cases = [cell.interval if cell else None for cell in worst.cells]
        means = ["missing" if case is None else percent_of(case.mean) for case in cases]
        rows.append((f"  {worst.over}" if worst.over else "worst case", means))
        if any(percent_range(case) for case in cases):
            rows.append(("  95 %", [percent_range(case) for case in cases]))
    mixed, labels = found.equilibrium, [defense.label for defense in found.defenses]
    if mixed is not None:
        rows.append(("equilibrium", [_plays(mixed.defenses.get(label)) for label in labels]))
        if mixed.resampled is not None:
            rows.append(("  resampled", [_spread(mixed.resampled.defenses.get(label)) for label in labels]))
    rows.append((LONGEST_ROW_NAME, [percent_of(floor) for floor in found.floors]))
    return rows


def _with_values(interval: Interval | None) -> str:
    """Return a cell: the mean with its interval, and below it the values where they are too few for one."""
    values = interval.values if interval is not None and len(interval.values) > 1 else ()
    return percent(interval) + ("\n" + " ".join(percent_of(value) for value in values) if values else "")


def _pages(found: Findings) -> list[list[int]]:
    """Return the places of the defenses in groups whose columns fit a page."""
    room = PAGE - max(map(len, [*(_starred(row.attack) for row in found.attacks), LONGEST_ROW_NAME]))
    pages: list[list[int]] = [[]]
    left = room - OWN_COLUMNS
    closing = _closing_rows(found)
    for place, defense in enumerate(found.defenses):
        cells = [_with_values(row.cells[place]) for row in found.attacks] + [cells[place] for _, cells in closing]
        width = GUTTER + max(len(line) for cell in [_header(defense), *cells] for line in cell.split("\n"))
        if pages[-1] and width > left:
            pages.append([])
            left = room
        pages[-1].append(place)
        left -= width
    return pages


def _payoff_title(found: Findings) -> str:
    setting = found.setting
    return (
        f"Fidelity of the best clone, %: victim {setting.victim}, pool {setting.pool}, {setting.budget:,} rows, "
        f"{found.told}"
    )


def _payoff_caption(found: Findings) -> str:
    ranked, mixed = found.ranked_attacks, found.equilibrium
    ranks = f"; rank: by own; {_simultaneous(_points(ranked.resolved))}" if ranked.resolved is not None else ""
    value = (
        ""
        if mixed is None
        else f"; equilibrium: how often a defender who mixes as evenly as possible plays it, worth "
        f"{100 * mixed.value:.1f} %"
        + ("" if mixed.resampled is None else ", and the middle 95 % of that over resampled seeds")
    )
    fewer = _fewer_seeds(ranked.seeds, found, "own")
    return (
        "Per match the largest of tracks A, A-hard and B. * yardstick; own: the attack's own clone, mean over "
        f"defenses{ranks}; worst case: the largest mean over attacks{value}.{fewer}"
    )


def _simultaneous(resolved: str) -> str:
    """Return what a rank says, and how small a difference such a number of players and seeds can tell."""
    return (
        "the ranks of a group hold all at once with 95 % confidence, and the smallest difference that is told apart about "
        f"half of the time is {resolved}"
    )


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


def _fewer_seeds(seeds: int, found: Findings, what: str) -> str:
    return "" if seeds == found.seeds else f" {what}: over the {counted(seeds, 'seed')} that all of them have."


def defense_table(found: Findings) -> RenderableType:
    """Return a row a defense, grouped as they are ranked: what it knew, what honest users lost, worst case and rank."""
    table = table_of("defense", "knew", numbers=["lost", "flipped", "L1", "Brier", "worst case", "rank"])
    for ranked in found.groups:
        table.add_row(Text(_group_name(ranked), style="bold"))
        for row in ranked.rows:
            add_row(table, *_defense_cells(row))
        table.add_section()
    return titled("What each defense knew and cost", table, caption=_defense_caption(found))


def _defense_caption(found: Findings) -> str:
    told = [
        f"{_points(one.group.resolved)} in {_group_name(one)}" for one in found.groups if one.group.resolved is not None
    ]
    unrecorded = any(row.cost.images is None for one in found.groups for row in one.rows)
    fewer = min((one.group.seeds for one in found.groups), default=found.seeds)
    return (
        "Lost: points of accuracy on honest images, each counted once, refusals wrong; ~ and the division whose border the "
        "interval holds; flipped: decisions, or of how many images none did; L1, Brier: shift and cost of honest "
        f"posteriors; scores kept: mean L1 up to {SCORES_BOUND:g} and not one-hot; worst case: the largest mean over "
        "attacks, its 95 % interval and its attack"
        + (f"; {_simultaneous(', '.join(told))}" if told else "")
        + "."
        + _fewer_seeds(fewer, found, "Worst case and rank")
        + (
            " Which honest images were asked was not recorded: the intervals of lost are the widest."
            if unrecorded
            else ""
        )
    )


def _group_name(ranked: GroupRows) -> str:
    return f"{ranked.group.division}, {ranked.group.score_class}"


def _defense_cells(row: DefenseRow) -> list[str]:
    cost, standing = row.cost, row.standing
    knew = "\n".join(row.knew) or "nothing"
    borders = "".join(f" ~{border}" for border in cost.borders)
    return [
        f"  {_starred(row.defense)}",
        f"{knew} (leak)" if row.leak else knew,
        f"{100 * cost.decisions:.1f} ±{100 * cost.half:.1f}" + (f"\n{borders.strip()}" if borders else ""),
        _flipped(cost),
        "-" if cost.l1 is None else f"{cost.l1:.2f}",
        "-" if row.brier_cost is None else f"{row.brier_cost:+.3f}",
        f"{percent_and_range(standing.worst_case.interval)}\n{row.worst_attack}",
        "-" if standing.ranks is None else str(standing.ranks),
    ]


def _flipped(cost: Cost) -> str:
    """Return the share of decisions that changed, or of how many images none did and what that leaves open."""
    if cost.changed or cost.images is None:
        return f"{100 * cost.changed / cost.rows:.2f} %"
    return f"0 of {cost.images:,}\n< {100 * unseen_at_most(cost.images):.2g} %"


def deployed_table(found: Findings) -> RenderableType | None:
    """Return the fidelity to what is deployed where that is not the victim, None if it is everywhere."""
    if not found.deployed:
        return None
    table = table_of("defense", "attack", numbers=["to the victim", "to the deployed", "deployed accuracy"])
    for row in found.deployed:
        both = map(percent, (row.to_victim, row.to_deployed))
        add_row(table, row.defense.name, row.attack.name, *both, percent_of(row.accuracy))
    return titled(
        "Defenses that deploy another model",
        table,
        caption="Fidelity, %, of the best track to the undefended victim and to the model that answered; accuracy of the "
        "latter on the test rows.",
    )


def tradeoff_table(found: Findings) -> RenderableType | None:
    """Return each swept defense along its parameter, None if nothing was swept."""
    if not found.swept:
        return None
    table = table_of("defense", "value", "best thief", numbers=["defended accuracy", "L1", "clone accuracy"])
    for swept in found.swept:
        for point, thief in zip(swept.curve.points, swept.best_thieves, strict=True):
            add_row(
                table,
                swept.curve.defense,
                f"{swept.curve.parameter} = {point.value:g}",
                thief,
                f"{100 * point.defended:.1f}",
                "-" if point.l1 is None else f"{point.l1:.2f}",
                percent_and_range(point.clone),
            )
        table.add_section()
    return titled(
        "What each swept defense costs its users and a thief",
        table,
        *(Text(_least(swept)) for swept in found.swept),
        caption="Accuracy, %, of honest answers and of the best clone of the best thief, with an interval that allows for the "
        "choice of the thief. The least is over the swept values that cost honest users so much at most, no defense among "
        "them; its interval allows for that choice, too.",
    )


def _least(swept: SweptDefense) -> str:
    """Return what clones get at best for the defender, for each loss of honest accuracy that it may cost."""
    told = [_least_at(swept, one) for one in swept.least]
    return f"{swept.curve.defense}, least clone accuracy by points that honest users lose: {', '.join(told)}."


def _least_at(swept: SweptDefense, one: MatchedLoss) -> str:
    value = "no defense" if one.value is None else f"{swept.curve.parameter} = {one.value:g}"
    return f"{percent_and_range(one.clone)} at {100 * one.allowed:g} by {value}"


def threat_table(found: Findings) -> RenderableType | None:
    """Return what finished clones were good for, a row an attack and defense, None if no threat was run."""
    if not found.threats:
        return None
    tables: list[RenderableType] = []
    for threat in found.threats:
        table = table_of("attack", "defense", numbers=[name.replace("/", "\n") for name in threat.counted])
        for row in threat.rows:
            add_row(table, row.attack.name, row.defense.name, *map(percent_of, row.shares))
        tables += [Text(f"  {threat.threat}"), table]
    return titled(
        "What the clones are good for, %",
        *tables,
        caption="Shares pooled over seeds of what each threat counts (arena list NAME says what); an evasion means something "
        "above its control alone. Pictures are in the run's folder.",
    )


def _faults(results: Iterable[MatchResult]) -> list[RenderableType]:
    found = [result for result in results if result.verdict.outcome != "completed"]
    if not found:
        return []
    table = table_of("match", "attack", "defense", "seed", "outcome", "fault", "reason")
    for result in found[:SHOWN_FAULTS]:
        matchup, verdict = result.matchup, result.verdict
        add_row(
            table,
            matchup_id(matchup)[:SHOWN_ID],
            bare_label(matchup.attack),
            bare_label(matchup.defense),
            str(matchup.seed),
            verdict.outcome,
            verdict.fault,
            verdict.reason[:SHOWN_REASON],
        )
    more = len(found) - SHOWN_FAULTS
    caption = "A faulty attack scores what its answers were worth, a faulty defense as none; infrastructure is missing."
    return [
        titled(
            "Matches that did not end well",
            table,
            caption=f"And {more} more, see results.csv. {caption}" if more > 0 else caption,
        )
    ]


def _starred(player: Player) -> str:
    """Return a player's name, with a star if it is a yardstick."""
    return player.name + (" *" if player.yardstick else "")


def _header(defense: Player) -> str:
    """Return a column's head; parameters, where a name needs them, stand below it."""
    name = _starred(defense).replace(" +", "\n+")
    return name.replace(")", "").replace("(", "\n").replace(", ", "\n")


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    low, high = (f"{100 * end:.0f}" for end in (spread.low, spread.high))
    return f"{low} %" if low == high else f"{low}-{high} %"


def _plays(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
