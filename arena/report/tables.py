"""The findings of a tournament as tables for a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from arena.contracts import MatchResult, matchup_id
from arena.metrics.intervals import MIN_SEEDS
from arena.payoff.matrix import bare_label
from arena.payoff.ranking import SCORES_BOUND
from arena.report.findings import DefenseRow, Findings, Player, SweptDefense, findings
from arena.report.rich_tables import GUTTER, add_row, counted, table_of, titled
from arena.report.sentences import percent, percent_of

PAGE = 106  # columns that a table may fill
OWN_COLUMNS = len("  100.0 ±10.0  rank ")
LONGEST_ROW_NAME = "asked nothing"
SHOWN_FAULTS = 20
SHOWN_ID, SHOWN_REASON = 8, 80  # characters


def tournament_report(results: Sequence[MatchResult]) -> RenderableType:
    """Return every matrix of a tournament with its defenses' costs and what it says."""
    parts: list[RenderableType] = []
    for found in findings(results):
        further = (deployed_table(found), tradeoff_table(found), threat_table(found))
        parts += [
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
        cells = [percent(row.cells[place]) for place in page]
        rank = "-" if row.rank is None else str(row.rank)
        add_row(table, _starred(row.attack), *cells, *((percent(row.own), rank) if own else ()))
    table.add_section()
    for worst in found.worst_cases:
        name = f"  {worst.over}" if worst.over else "worst case"
        add_row(table, name, *(percent(worst.cells[place]) for place in page))
    if found.equilibrium is not None:
        shares = found.equilibrium.defenses
        add_row(table, "equilibrium", *(_plays(shares.get(found.defenses[place].label)) for place in page))
    add_row(table, "asked nothing", *(percent_of(found.floors[place]) for place in page))
    return table


def _pages(found: Findings) -> list[list[int]]:
    """Return the places of the defenses in groups whose columns fit a page."""
    room = PAGE - max(map(len, [*(_starred(row.attack) for row in found.attacks), LONGEST_ROW_NAME]))
    pages: list[list[int]] = [[]]
    left = room - OWN_COLUMNS
    for place, defense in enumerate(found.defenses):
        cells = [percent(row.cells[place]) for row in found.attacks]
        width = GUTTER + max(map(len, [*_header(defense).split("\n"), *cells]))
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
    over = (
        f"mean over {found.seeds} seeds ± 95 % interval"
        if found.seeds >= MIN_SEEDS
        else f"{counted(found.seeds, 'seed')}, too few for an interval"
    )
    mixed = found.equilibrium
    value = (
        "" if mixed is None else f"; equilibrium: how often a mixing defender plays it, worth {100 * mixed.value:.1f} %"
    )
    return (
        f"Per match the largest of tracks A, A-hard and B, {over}. * yardstick; own: the attack's own clone, mean over "
        f"defenses; worst case: the attack is chosen on the other seeds{value}."
    )


def defense_table(found: Findings) -> RenderableType:
    """Return a row a defense, grouped as they are ranked: what it knew, what honest users lost, worst case and rank."""
    table = table_of("defense", "knew", numbers=["lost", "flipped", "L1", "Brier", "worst case", "rank"])
    for _, group in itertools.groupby(found.standings, key=lambda row: row.cost.place):
        peers = list(group)
        table.add_row(Text(f"{peers[0].cost.division}, {peers[0].cost.score_class}", style="bold"))
        for row in peers:
            add_row(table, *_defense_cells(row))
        table.add_section()
    return titled(
        "What each defense knew and cost",
        table,
        caption="Lost: points of accuracy on honest traffic, refusals counted wrong; flipped: decisions; L1, Brier: "
        "shift and cost of honest posteriors; ~ the interval crosses a division's border; scores kept: mean L1 up to "
        f"{SCORES_BOUND:g} and not one-hot; a rank is shared where the seeds cannot tell.",
    )


def _defense_cells(row: DefenseRow) -> list[str]:
    cost = row.cost
    knew = "\n".join(row.knew) or "nothing"
    return [
        f"  {_starred(row.defense)}",
        f"{knew} (leak)" if row.leak else knew,
        f"{'~' if cost.borderline else ''}{100 * cost.decisions:.1f} ±{100 * cost.half:.1f}",
        f"{100 * cost.changed / cost.rows:.2f} %",
        "-" if cost.l1 is None else f"{cost.l1:.2f}",
        "-" if row.brier_cost is None else f"{row.brier_cost:+.3f}",
        percent(row.standing.worst_case),
        f"{row.standing.rank}",
    ]


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
                percent(point.clone),
            )
        table.add_section()
    return titled(
        "What each swept defense costs its users and a thief",
        table,
        *(Text(_least(swept)) for swept in found.swept),
        caption="Accuracy, %, of honest answers and of the best clone of the best thief. The least is over the swept values "
        "that cost honest users so much at most, no defense among them, chosen on the other seeds.",
    )


def _least(swept: SweptDefense) -> str:
    """Return what clones get at best for the defender, for each loss of honest accuracy that it may cost."""
    told = [f"{percent(one.clone)} at {100 * one.allowed:g}" for one in swept.least]
    return f"{swept.curve.defense}, least clone accuracy by points that honest users lose: {', '.join(told)}."


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


def _plays(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
