"""The findings of a tournament as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from arena.contracts import MatchResult, matchup_id
from arena.payoff.matrix import bare_label
from arena.report.defense_tables import defense_table, tradeoff_table
from arena.report.findings import Findings, findings
from arena.report.payoff_tables import payoff_table
from arena.report.rich_tables import add_row, table_of, titled
from arena.report.sentences import percent_of
from arena.report.served_tables import deployed_table, error_table, map_table

SHOWN_FAULTS = 20
SHOWN_ID, SHOWN_REASON = 8, 80  # characters


def tournament_report(results: Sequence[MatchResult], computed: Sequence[Findings] | None = None) -> RenderableType:
    """Return all tables of a tournament, with a summary for each payoff matrix; ``computed`` are its findings, if known."""
    parts: list[RenderableType] = []
    for found in findings(results) if computed is None else computed:
        further = (
            deployed_table(found),
            tradeoff_table(found),
            threat_table(found),
            map_table(found),
            error_table(found),
        )
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


def threat_table(found: Findings) -> RenderableType | None:
    """Return what threats achieved with finished clones, or None if no threat was run."""
    if not found.threats:
        return None
    tables: list[RenderableType] = []
    for threat in found.threats:
        table = table_of("attack", "defense", numbers=[name.replace("/", "\n") for name in threat.counted])
        for row in threat.rows:
            add_row(table, row.attack.name, row.defense.name, *map(percent_of, row.shares))
        tables += [Text(f"  {threat.threat}"), table]
    return titled(
        "What threats achieve with the clones, %",
        *tables,
        caption="Shares of what each threat counts, pooled over seeds (arena list NAME explains them). An evasion rate is "
        "meaningful only above its control. Pictures are in the run's folder.",
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
