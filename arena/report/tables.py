"""Tables for the terminal: a tournament, its defenses, one match; and what the numbers say in sentences."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from arena.contracts import Knowledge, MatchResult, matchup_id
from arena.match.transcript import Transcript
from arena.metrics.intervals import Interval
from arena.payoff.comparison import against_attack
from arena.payoff.matrix import PayoffMatrix, defense_label, label, matrices, without_parameters
from arena.payoff.ranking import SCORES_BOUND, cost_of, standings

SHOWN_CALLS = 12
YARDSTICK_ATTACK, YARDSTICK_DEFENSE, UNDEFENDED = "knockoff", "label-only", "none"


def tournament_report(results: Sequence[MatchResult]) -> RenderableType:
    """Return every matrix of a tournament with its defenses' costs and what it says."""
    parts: list[RenderableType] = []
    for matrix in matrices(results):
        parts += [
            payoff_table(matrix),
            defense_table(matrix),
            *(Text(sentence) for sentence in sentences(matrix)),
            Text(),
        ]
    parts += _faults(results)
    return Group(*parts)


def payoff_table(matrix: PayoffMatrix) -> Table:
    """Return attacks x defenses: mean payoff in percent, half-width of its 95 % interval over seeds."""
    terms = matrix.terms
    table = Table(
        title=f"Fidelity of the best clone, %: victim {terms.victim}, pool {terms.pool}, {terms.budget:,} rows",
        caption=f"per match the largest of tracks A, A-hard and B; mean over {_seeds(matrix)} seeds ± 95 % interval; "
        f"* yardstick; own: track B, mean over defenses",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("attack")
    for defense in matrix.defenses:
        table.add_column(_starred(matrix, defense), justify="right")
    table.add_column("own", justify="right")
    for attack in matrix.attacks:
        cells = [_percent(matrix.cell(attack, defense)) for defense in matrix.defenses]
        own = [value for defense in matrix.defenses for value in matrix.own.get((attack, defense), {}).values()]
        table.add_row(_starred(matrix, attack), *cells, f"{100 * statistics.fmean(own):.1f}" if own else "-")
    table.add_section()
    table.add_row("worst case", *(_percent(matrix.worst_case(defense)) for defense in matrix.defenses), "")
    table.add_row(
        "asked nothing", *(_share(matrix.of_defense(defense), "floor/fidelity") for defense in matrix.defenses), ""
    )
    return table


def defense_table(matrix: PayoffMatrix) -> Table:
    """Return a row a defense: what it knew, what honest users lost, its division and rank."""
    table = Table(
        title="What each defense knew and cost",
        caption="decisions: points of accuracy lost on honest traffic; L1: mean shift of honest posteriors; ~ an "
        f"interval crosses a division's border; scores kept: mean L1 up to {SCORES_BOUND:g} and not one-hot",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("defense", no_wrap=True)
    table.add_column("knew")
    for column in ("decisions", "changed", "L1", "Brier", "broken"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("division", no_wrap=True)
    table.add_column("worst case", justify="right", no_wrap=True)
    table.add_column("rank", justify="right")
    for standing in standings(matrix):
        cost, played = standing.cost, matrix.of_defense(standing.defense)
        table.add_row(
            _starred(matrix, standing.defense),
            _knew(played),
            f"{100 * cost.decisions:.1f} ±{100 * cost.half:.1f}",
            f"{cost.changed}/{cost.rows}",
            "-" if cost.l1 is None else f"{cost.l1:.2f}",
            _mean_measure(played, "utility/brier_cost", "+.3f"),
            _broken(played),
            f"{cost.division}{'~' if cost.borderline else ''}, {cost.score_class}",
            _percent(standing.worst_case),
            f"{standing.rank}",
        )
    return table


def sentences(matrix: PayoffMatrix) -> list[str]:
    """Return three sentences that the numbers bear: what the table shows, what it costs, what it does not show."""
    return [_what_it_shows(matrix), _what_helps(matrix), _what_it_does_not_show(matrix)]


def match_table(result: MatchResult) -> Table:
    """Return one match as rows of name and value."""
    matchup, verdict = result.matchup, result.verdict
    table = Table(title=f"Match {matchup_id(matchup)}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    told = "told the defense" if matchup.informed else "blind"
    table.add_row("victim", label(matchup.victim) + f", {_share([result], 'victim/accuracy')} % accurate")
    table.add_row("attack", f"{label(matchup.attack)}, {told}, pool {matchup.pool} {matchup.pool_source}".rstrip())
    table.add_row(
        "defense", f"{defense_label(matchup.defense, matchup.knowledge)}, knew {_knowledge(matchup.knowledge)}"
    )
    reason = f": {verdict.reason}" if verdict.reason else ""
    blame = f" (fault: {verdict.fault}, stage {verdict.stage})" if verdict.fault != "nobody" else ""
    table.add_row("verdict", f"{verdict.outcome}{blame}{reason}")
    table.add_row(
        "asked",
        f"{result.spent} of {matchup.budget} units: {result.rows} rows, {result.distinct_rows} distinct, {result.calls} calls",
    )
    table.add_section()
    for track, words in _TRACKS.items():
        if f"{track}/fidelity" in result.counts:
            table.add_row(
                words,
                f"fidelity {_share([result], f'{track}/fidelity')} %, accuracy {_share([result], f'{track}/accuracy')} %",
            )
    table.add_section()
    cost = cost_of([result])
    if cost is not None:
        table.add_row(
            "honest users",
            f"{100 * cost.decisions:.1f} points of accuracy lost, {cost.changed} of {cost.rows} decisions changed"
            + (f", mean L1 {cost.l1:.2f}" if cost.l1 is not None else ""),
        )
    if result.flags:
        table.add_row("flags", ", ".join(result.flags))
    table.add_row("digests", f"transcript {result.transcript_digest or '-'}, clone {result.clone_digest or '-'}")
    if "attack/cpu_seconds" in result.measures:
        table.add_row("attack's time", f"{result.measures['attack/cpu_seconds']:.1f} CPU s")
    if verdict.output:
        table.add_row("its output", verdict.output[-2000:].rstrip())
    return table


_TRACKS = {
    "b": "B: the attack's own clone",
    "a": "A: the referee's, from the answers",
    "a-hard": "A-hard: from their argmax",
    "floor": "floor: asked nothing",
}


def _what_it_shows(matrix: PayoffMatrix) -> str:
    best = _best_attack(matrix, UNDEFENDED)
    cell = matrix.cell(best, UNDEFENDED) if best else None
    if best is None or cell is None:
        return "It shows no undefended victim, so it cannot say what a defense buys: add the defense none."
    floor = _share(matrix.of_defense(UNDEFENDED), "floor/fidelity")
    return (
        f"It shows: {matrix.terms.budget:,} rows steal the undefended victim to {_percent(cell)} % fidelity "
        f"({matrix.short(best)}), where a clone that asked nothing has {floor} %; {_beside_random(matrix)}."
    )


def _beside_random(matrix: PayoffMatrix) -> str:
    """Return which attacks can be told from random queries on the undefended victim."""
    random = matrix.named(YARDSTICK_ATTACK)
    if random is None:
        return "random queries were not played"
    compared = against_attack(matrix, random, UNDEFENDED)
    told = [f"{matrix.short(one.player)} ({100 * one.difference.mean:+.1f})" for one in compared if one.distinct]
    if told:
        return f"told apart from random queries there: {', '.join(told)}"
    return "no attack can be told from random queries there"


def _what_helps(matrix: PayoffMatrix) -> str:
    cases = {defense: matrix.worst_case(defense) for defense in matrix.defenses}
    known = {defense: case for defense, case in cases.items() if case is not None and defense != UNDEFENDED}
    if not known:
        return "It plays no defense."
    strongest = min(known, key=lambda defense: known[defense].mean)
    label_only = matrix.named(YARDSTICK_DEFENSE)
    yardstick = cases.get(label_only) if label_only else None
    versus = "" if yardstick is None or strongest == label_only else f" (label-only: {_percent(yardstick)} %)"
    cost = cost_of(matrix.of_defense(strongest))
    price = "" if cost is None else f", at {100 * cost.decisions:.1f} points of honest accuracy"
    return f"It shows: in the worst case over these attacks, {matrix.short(strongest)} leaves the least, {_percent(known[strongest])} %{versus}{price}."


def _what_it_does_not_show(matrix: PayoffMatrix) -> str:
    told = any(attack.endswith(" +informed") for attack in matrix.attacks)
    return (
        f"It does not show: other victims, budgets or pools than {matrix.terms.victim}, {matrix.terms.budget:,} rows, "
        f"{matrix.terms.pool}; differences smaller than the intervals"
        + ("." if told else "; or attacks that are told the defense, which none was here.")
    )


def _faults(results: Iterable[MatchResult]) -> list[RenderableType]:
    found = [result for result in results if result.verdict.outcome != "completed"]
    if not found:
        return []
    table = Table(title="Matches that did not end well", title_justify="left")
    for column in ("match", "attack", "defense", "seed", "outcome", "fault", "reason"):
        table.add_column(column)
    for result in found[:20]:
        matchup, verdict = result.matchup, result.verdict
        table.add_row(
            matchup_id(matchup),
            label(matchup.attack),
            label(matchup.defense),
            str(matchup.seed),
            verdict.outcome,
            verdict.fault,
            verdict.reason[:80],
        )
    return [table, Text(f"and {len(found) - 20} more")] if len(found) > 20 else [table]


def _best_attack(matrix: PayoffMatrix, defense: str) -> str | None:
    cells = {attack: cell for attack in matrix.attacks if (cell := matrix.cell(attack, defense)) is not None}
    return max(cells, key=lambda attack: cells[attack].mean) if cells else None


def _percent(interval: Interval | None) -> str:
    if interval is None:
        return "missing"
    return f"{100 * interval.mean:.1f}" + (f" ±{100 * interval.half:.1f}" if interval.half is not None else "")


def _share(results: Sequence[MatchResult], key: str) -> str:
    counts = [result.counts[key] for result in results if key in result.counts]
    total = sum(count[1] for count in counts)
    return f"{100 * sum(count[0] for count in counts) / total:.1f}" if total else "-"


def _mean_measure(results: Sequence[MatchResult], key: str, form: str) -> str:
    values = [result.measures[key] for result in results if key in result.measures]
    return format(statistics.fmean(values), form) if values else "-"


def _broken(results: Sequence[MatchResult]) -> str:
    counts = [count for result in results for key, count in result.counts.items() if key.startswith("promise/")]
    return f"{sum(broken for broken, _ in counts)}" if counts else "-"


def _knew(results: Sequence[MatchResult]) -> str:
    words = _knowledge(results[0].matchup.knowledge)
    return f"{words} (leak)" if any("leak" in result.flags for result in results) else words


def _knowledge(knowledge: Knowledge) -> str:
    words = [
        f"{kind} {value}"
        for kind, value in (("surrogate", knowledge.surrogate), ("outliers", knowledge.outliers))
        if value != "none"
    ]
    return ", ".join(words) or "nothing"


def _starred(matrix: PayoffMatrix, player: str) -> str:
    """Return a player's short name, with a star if it is a yardstick."""
    mark = " *" if without_parameters(player).split(" +")[0] in (YARDSTICK_ATTACK, YARDSTICK_DEFENSE) else ""
    return matrix.short(player) + mark


def _seeds(matrix: PayoffMatrix) -> int:
    return max((len(cell) for cell in matrix.payoffs.values()), default=0)


def transcript_table(transcript: Transcript, *, recorded: str) -> Table:
    """Return the first calls of a transcript, and whether it has the digest that the result recorded."""
    same = "as recorded" if transcript.digest == recorded else f"NOT as recorded ({recorded})"
    table = Table(
        title=f"Transcript {transcript.digest}, {same}; hash chain ends in {transcript.link}",
        caption=f"{len(transcript.calls)} calls, {len(transcript.honest_calls)} of them honest; the first {SHOWN_CALLS} are shown",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    for column in ("call", "account", "from"):
        table.add_column(column)
    for column in ("rows", "price", "refused", "mean largest posterior"):
        table.add_column(column, justify="right")
    for number, call in enumerate(transcript.calls[:SHOWN_CALLS]):
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
    return table
