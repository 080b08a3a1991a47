"""One match for a terminal: its terms, verdict and scores, and its transcript."""

from __future__ import annotations

import itertools

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from arena.contracts import CountName, MatchResult, Track, matchup_id
from arena.contracts import scores as names
from arena.metrics.intervals import wilson
from arena.oracle.transcript import Transcript
from arena.payoff.cost import cost_of
from arena.payoff.matrix import defense_label, label
from arena.report.findings import known
from arena.report.rich_tables import GUTTER, add_row, counted, table_of, titled
from arena.report.sentences import percent_of, share

SHOWN_CALLS = 12
SHOWN_OUTPUT = 2_000  # characters

_TRACKS: dict[Track, str] = {
    "b": "B: the attack's own clone",
    "a": "A: the referee's, from the answers",
    "a-hard": "A-hard: from their argmax",
    "floor": "floor: asked nothing",
}


def match_table(result: MatchResult) -> RenderableType:
    """Return one match as rows of name and value; shares of test rows with their 95 % Wilson interval."""
    table = Table(box=SIMPLE, show_header=False, padding=(0, GUTTER - 1, 0, 0), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for section in match_rows(result):
        for name, value in section:
            add_row(table, name, value)
        table.add_section()
    return Group(Text(f"Match {matchup_id(result.matchup)}", style="bold"), table)


def match_rows(result: MatchResult) -> list[list[tuple[str, str]]]:
    """Return what is shown of one match, as names and values: terms, scores, honest users, threats, traces."""
    return [rows(result) for rows in (_terms_rows, _score_rows, _honest_rows, _threat_rows, _trace_rows)]


def _terms_rows(result: MatchResult) -> list[tuple[str, str]]:
    matchup, verdict = result.matchup, result.verdict
    told = "told the defense" if matchup.informed else "blind"
    reason = f": {verdict.reason}" if verdict.reason else ""
    blame = f" (fault: {verdict.fault}, stage {verdict.stage})" if verdict.fault != "nobody" else ""
    knew = ", ".join(known(matchup.knowledge)) or "nothing"
    return [
        ("victim", f"{label(matchup.victim)}, {percent_of(share([result], names.VICTIM_ACCURACY))} % accurate"),
        ("attack", f"{label(matchup.attack)}, {told}, pool {matchup.pool} {matchup.pool_source}".rstrip()),
        ("defense", f"{defense_label(matchup.defense, matchup.knowledge)}, knew {knew}{_served(result)}"),
        ("verdict", f"{verdict.outcome}{blame}{reason}"),
        (
            "asked",
            f"{result.spent:,} of {matchup.budget:,} units: {counted(result.rows, 'row')}, {result.distinct_rows:,} "
            f"distinct, {counted(result.calls, 'call')}",
        ),
    ]


def _served(result: MatchResult) -> str:
    """Return the share of test rows that the deployed defense serves right, where the result has it."""
    served = share([result], names.DEPLOYED_ACCURACY)
    return "" if served is None else f", serves {percent_of(served)} % right"


def _score_rows(result: MatchResult) -> list[tuple[str, str]]:
    return [
        (
            words,
            f"fidelity {_estimate(result, names.clone_count(track, 'fidelity'))}{_to_served(result, track)}, "
            f"accuracy {_estimate(result, names.clone_count(track, 'accuracy'))}",
        )
        for track, words in _TRACKS.items()
        if names.clone_count(track, "fidelity") in result.counts
    ]


def _to_served(result: MatchResult, track: Track) -> str:
    """Return the fidelity to what the deployed defense decides, where that differs from the victim's decisions."""
    name = names.clone_count(track, "fidelity_deployed")
    return f" (to what is served {_estimate(result, name)})" if name in result.counts else ""


def _honest_rows(result: MatchResult) -> list[tuple[str, str]]:
    cost = cost_of([result])
    if cost is None:
        return []
    shift = "" if cost.l1 is None else f", mean L1 {cost.l1:.2f}"
    lost = f"{100 * cost.decisions:.1f} points of accuracy lost"
    return [("honest users", f"{lost}, {cost.changed:,} of {cost.rows:,} decisions flipped{shift}")]


def _threat_rows(result: MatchResult) -> list[tuple[str, str]]:
    """Return a row a threat: what it counted."""
    rows: dict[str, list[str]] = {}
    for key, (hits, total) in result.counts.items():
        if names.is_threat(key):
            _, name, counted = key.split("/", 2)
            rows.setdefault(name, []).append(f"{counted} {hits} of {total}")
    return [(f"threat {name}", ", ".join(counted)) for name, counted in rows.items()]


def _trace_rows(result: MatchResult) -> list[tuple[str, str]]:
    rows = [
        ("flags", ", ".join(result.flags)),
        ("pictures", ", ".join(result.pictures)),
        ("transcript", result.transcript_digest),
        ("clone", result.clone_digest),
    ]
    if names.ATTACK_CPU_SECONDS in result.measures:
        rows.append(("attack's time", f"{result.measures[names.ATTACK_CPU_SECONDS]:.1f} CPU s"))
    for name, words in ((names.ATTACK_STEPS, "attack's training"), (names.CLONE_STEPS, "referee's training")):
        if name in result.measures:
            what = "all networks together" if name == names.ATTACK_STEPS else "each clone"
            rows.append((words, f"{result.measures[name]:,.0f} steps, {what}"))
    rows += _fact_rows(result)
    rows.append(("its output", result.verdict.output[-SHOWN_OUTPUT:].rstrip()))
    return [(name, value) for name, value in rows if value]


def _fact_rows(result: MatchResult) -> list[tuple[str, str]]:
    """Return a row for each player: the facts that it stated about its own play."""
    stated: dict[str, list[str]] = {}
    for name, value in result.measures.items():
        player, _, fact = name.partition("/fact/")
        if fact:
            stated.setdefault(player, []).append(f"{fact.replace('_', ' ')} {_number(value)}")
    return [(f"{player}'s own facts", ", ".join(facts)) for player, facts in sorted(stated.items())]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value.is_integer() else f"{value:.4g}"


def _estimate(result: MatchResult, name: CountName) -> str:
    count = result.counts.get(name)
    if count is None or not count.total:
        return "missing"
    low, high = wilson(*count)
    return f"{100 * count.share:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def transcript_table(transcript: Transcript, *, recorded: str) -> RenderableType:
    """Return the first calls of a transcript, and whether it has the digest that the result recorded."""
    same = "as recorded" if transcript.digest == recorded else f"NOT as recorded ({recorded})"
    table = table_of("call", "account", "from", numbers=["rows", "price", "refused", "mean largest posterior"])
    for number, call in enumerate(itertools.islice(transcript.calls, SHOWN_CALLS)):
        answer = call.answer
        table.add_row(
            str(number),
            str(call.request.account),
            "honest user" if call.honest else "attack",
            str(call.rows),
            str(call.price),
            str(int(answer.refused.sum())),
            f"{float(answer.posteriors.amax(dim=1).mean()):.3f}",
        )
    return titled(
        f"Transcript {transcript.digest}, {same}; hash chain ends in {transcript.link}",
        table,
        caption=f"{len(transcript.calls)} calls, {len(transcript.calls) - transcript.counts.calls} of them honest; "
        f"the first {SHOWN_CALLS} are shown.",
    )
