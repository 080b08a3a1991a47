"""The findings of a tournament as tables for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from arena.contracts import MatchResult, matchup_id
from arena.contracts.flags import MEANINGS
from arena.payoff.matrix import bare_label
from arena.report.abbreviations import abbreviated
from arena.report.defense_tables import defense_table, tradeoff_table
from arena.report.findings import Findings, findings
from arena.report.payoff_tables import PAGE, payoff_table
from arena.report.rich_tables import GUTTER, add_row, counted, table_of, titled
from arena.report.sentences import percent_and_range, percent_of
from arena.report.served_tables import deployed_table, error_table, map_table
from arena.report.threat_rows import ThreatFindings

SHOWN_FAULTS = 20
SHARE_WIDTH = len("100.0")
SHOWN_CELLS = 8  # of a note
SHOWN_ID, SHOWN_REASON = 8, 80  # characters


def tournament_report(results: Sequence[MatchResult], computed: Sequence[Findings] | None = None) -> RenderableType:
    """Return all tables of a tournament, each payoff matrix below its summary; ``computed`` are its findings, if known.

    Several matrices are preceded by a table with a row for each of them.
    """
    every = findings(results) if computed is None else computed
    parts: list[RenderableType] = [settings_table(every)] if len(every) > 1 else []
    for whole in every:
        short = abbreviated(whole)
        found = short.found
        tables = (
            payoff_table(found),
            defense_table(found),
            deployed_table(found),
            tradeoff_table(found),
            threat_table(found),
            map_table(found),
            error_table(found),
        )
        parts += [
            *([Text(f"==== {found.setting.words} ====", style="bold")] if len(every) > 1 else []),
            Text(f"{found.intervals}\n"),
            *(Text(sentence) for sentence in found.sentences),
            *(Text(f"{tag} is {name}") for tag, name in short.meanings.items()),
            Text(),
            *(table for table in tables if table is not None),
        ]
    parts += _notes(results)
    parts += _faults(results)
    return Group(*parts)


def settings_table(every: Sequence[Findings]) -> RenderableType:
    """Return a row for each victim, pool and budget: what was extracted, and which defense leaves least."""
    table = table_of("victim", "pool", numbers=["rows", "undefended"])
    table.add_column(Text("by"), overflow="fold")
    table.add_column(Text("with a defense"), justify="right", no_wrap=True)
    table.add_column(Text("by"), overflow="fold")
    for found in (abbreviated(one).found for one in every):
        setting, open_to, least = found.setting, found.undefended, found.strongest
        add_row(
            table,
            setting.victim,
            setting.pool,
            f"{setting.budget:,}",
            percent_and_range(open_to.interval) if open_to else "-",
            found.name_of(open_to.attack) if open_to else "",
            percent_and_range(least.interval) if least else "-",
            found.name_of(least.defense) if least else "",
        )
    return titled(
        f"Summary of {counted(len(every), 'setting')}, fidelity of the best clone in the worst case, %",
        table,
        caption="Undefended: what the strongest attack extracts, with its 95 % interval. With a defense: the lowest worst case "
        "over attacks. A table for each setting follows.",
    )


def _notes(results: Iterable[MatchResult]) -> list[RenderableType]:
    """Return a paragraph for each flag: what it means, and on which cells it stands."""
    cells: dict[str, Counter[str]] = {}
    for result in results:
        matchup = result.matchup
        attack = bare_label(matchup.attack) + (" +informed" if matchup.informed else "")
        cell = f"{attack} against {bare_label(matchup.defense)}, {matchup.budget:,} rows"
        for flag in result.flags:
            cells.setdefault(flag, Counter())[cell] += 1
    parts = []
    for flag, found in sorted(cells.items()):
        shown = "; ".join(
            f"{cell} ({counted(number, 'match', 'matches')})" for cell, number in found.most_common(SHOWN_CELLS)
        )
        more = f"; and {len(found) - SHOWN_CELLS} more cells" if len(found) > SHOWN_CELLS else ""
        parts.append(Text(f"Note, {flag}: {MEANINGS.get(flag, 'unknown to this version')}. On {shown}{more}."))
    return [*parts, Text()] if parts else []


def threat_table(found: Findings) -> RenderableType | None:
    """Return what threats achieved with finished clones, or None if no threat was run."""
    if not found.threats:
        return None
    tables: list[RenderableType] = []
    for threat in found.threats:
        tables.append(Text(f"  {threat.threat}"))
        for places in _threat_pages(threat):
            heads = [threat.counted[place].replace("/", "\n") for place in places]
            table = table_of("attack", "defense", numbers=heads)
            for row in threat.rows:
                add_row(table, row.attack.name, row.defense.name, *(percent_of(row.shares[place]) for place in places))
            tables.append(table)
    return titled(
        "What threats achieve with the clones, %",
        *tables,
        caption="Shares of what each threat counts, pooled over seeds (arena list NAME explains them). An evasion rate is "
        "meaningful only above its control. Pictures are in the run's folder.",
    )


def _threat_pages(threat: ThreatFindings) -> list[list[int]]:
    """Return the places of the counts in groups whose columns fit on one page."""
    attacks, defenses = (
        [len(name) for name in side]
        for side in zip(*((row.attack.name, row.defense.name) for row in threat.rows), strict=True)
    )
    room = PAGE - max(attacks) - max(defenses) - GUTTER
    pages: list[list[int]] = [[]]
    left = room
    for place, counted_as in enumerate(threat.counted):
        width = GUTTER + max(SHARE_WIDTH, *(len(part) for part in counted_as.split("/")))
        if pages[-1] and width > left:
            pages.append([])
            left = room
        pages[-1].append(place)
        left -= width
    return pages


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
    caption = (
        "A faulty attack gets the score of track A, a faulty defense is scored like none, and a match that failed because of "
        "the infrastructure is missing."
    )
    return [
        titled(
            "Matches that did not end well",
            table,
            caption=f"And {more} more, see results.csv. {caption}" if more > 0 else caption,
        )
    ]
