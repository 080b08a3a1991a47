"""Tables for the terminal: a tournament, its defenses, one match; and what the numbers say in sentences."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE, SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from arena.contracts import Knowledge, MatchResult, matchup_id
from arena.match.transcript import Transcript
from arena.metrics.intervals import FEWEST_SEEDS, Interval, mean_interval, wilson
from arena.payoff.comparison import against_attack
from arena.payoff.matrix import TRACKS, PayoffMatrix, bare_label, defense_label, label, matrices
from arena.payoff.ranking import (
    SCORES_BOUND,
    Standing,
    attack_standings,
    cost_of,
    mixture,
    standings,
    told_apart,
)
from arena.payoff.tradeoff import ALLOWED_LOSSES, TradeOff, at_matched_loss, tradeoffs

PAGE = 106  # columns that a table may fill
GUTTER = 2  # between two columns
OWN_COLUMNS = len("  100.0 ±10.0  rank ")
LONGEST_ROW_NAME = "asked nothing"
SHOWN_CALLS, SHOWN_FAULTS = 12, 20
SHOWN_ID, SHOWN_REASON, SHOWN_OUTPUT = 8, 80, 2_000  # characters
PROMISES = {"promise/argmax_broken": "the same decision", "promise/l1_broken": "a bounded L1 shift"}
YARDSTICK_ATTACK, YARDSTICK_DEFENSE, UNDEFENDED = "knockoff", "label-only", "none"


def tournament_report(results: Sequence[MatchResult]) -> RenderableType:
    """Return every matrix of a tournament with its defenses' costs and what it says."""
    parts: list[RenderableType] = []
    for matrix in matrices(results):
        found = (deployed_table(matrix), tradeoff_table(matrix), threat_table(matrix))
        parts += [
            payoff_table(matrix),
            defense_table(matrix),
            *(table for table in found if table is not None),
            *(Text(line) for line in (*broken_promises(matrix), *sentences(matrix))),
            Text(),
        ]
    parts += _faults(results)
    return Group(*parts)


def payoff_table(matrix: PayoffMatrix) -> RenderableType:
    """Return attacks x defenses: mean payoff in percent, half-width of its 95 % interval over seeds.

    Defenses that `PAGE` columns cannot hold go into a table of their own; the attacks' own scores close the first one.
    """
    first, *others = _pages(matrix)
    return _titled(
        _payoff_title(matrix),
        _payoff_page(matrix, first, own=True),
        *(_payoff_page(matrix, page, own=False) for page in others),
        caption=_payoff_caption(matrix),
    )


def _payoff_page(matrix: PayoffMatrix, defenses: Sequence[str], *, own: bool) -> Table:
    table = _table("attack", numbers=[_header(matrix, defense) for defense in defenses] + ["own", "rank"] * own)
    scored = {one.attack: (_percent(one.score), str(one.rank)) for one in attack_standings(matrix)}
    for attack in matrix.attacks:
        cells = [_percent(matrix.cell(attack, defense)) for defense in defenses]
        _add_row(table, _starred(matrix, attack), *cells, *(scored.get(attack, ("missing", "-")) if own else ()))
    table.add_section()
    for words, attacks in _worst_case_rows(matrix):
        _add_row(table, words, *(_percent(matrix.worst_case(defense, attacks=attacks)) for defense in defenses))
    mixed = mixture(matrix)
    if mixed is not None:
        _add_row(table, "equilibrium", *(_plays(mixed.defenses.get(defense)) for defense in defenses))
    _add_row(table, "asked nothing", *(_share(matrix.of_defense(defense), "floor/fidelity") for defense in defenses))
    return table


def _pages(matrix: PayoffMatrix) -> list[list[str]]:
    """Return the defenses in groups whose columns fit a page."""
    names = [*(_starred(matrix, attack) for attack in matrix.attacks), LONGEST_ROW_NAME]
    room = PAGE - max(map(len, names))
    pages: list[list[str]] = [[]]
    left = room - OWN_COLUMNS
    for defense in matrix.defenses:
        cells = [_percent(matrix.cell(attack, defense)) for attack in matrix.attacks]
        width = GUTTER + max(map(len, [*_header(matrix, defense).split("\n"), *cells]))
        if pages[-1] and width > left:
            pages.append([])
            left = room
        pages[-1].append(defense)
        left -= width
    return pages


def _payoff_title(matrix: PayoffMatrix) -> str:
    terms, told = matrix.terms, _told(matrix)
    return f"Fidelity of the best clone, %: victim {terms.victim}, pool {terms.pool}, {terms.budget:,} rows, {told}"


def _payoff_caption(matrix: PayoffMatrix) -> str:
    seeds = _seeds(matrix)
    over = (
        f"mean over {seeds} seeds ± 95 % interval"
        if seeds >= FEWEST_SEEDS
        else f"{_counted(seeds, 'seed')}, too few for an interval"
    )
    mixed = mixture(matrix)
    value = (
        "" if mixed is None else f"; equilibrium: how often a mixing defender plays it, worth {100 * mixed.value:.1f} %"
    )
    return (
        f"Per match the largest of tracks A, A-hard and B, {over}. * yardstick; own: the attack's own clone, mean over "
        f"defenses; worst case: the attack is chosen on the other seeds{value}."
    )


def _worst_case_rows(matrix: PayoffMatrix) -> list[tuple[str, Sequence[str]]]:
    """Return the rows of worst cases: over all attacks, and for blind and informed ones apart if both were played."""
    blind = [attack for attack in matrix.attacks if attack not in matrix.informed]
    if not blind or not matrix.informed:
        return [("worst case", matrix.attacks)]
    return [("worst case", matrix.attacks), ("  blind", blind), ("  informed", sorted(matrix.informed))]


def defense_table(matrix: PayoffMatrix) -> RenderableType:
    """Return a row a defense, grouped as they are ranked: what it knew, what honest users lost, worst case and rank."""
    table = _table("defense", "knew", numbers=["lost", "changed", "L1", "Brier", "worst case", "rank"])
    for _, group in itertools.groupby(standings(matrix), key=lambda one: one.cost.place):
        peers = list(group)
        table.add_row(Text(f"{peers[0].cost.division}, {peers[0].cost.score_class}", style="bold"))
        for standing in peers:
            _add_row(table, *_standing_cells(matrix, standing))
        table.add_section()
    return _titled(
        "What each defense knew and cost",
        table,
        caption="Lost: points of accuracy on honest traffic, refusals counted wrong; changed: decisions; L1, Brier: "
        "shift and cost of honest posteriors; ~ the interval crosses a division's border; scores kept: mean L1 up to "
        f"{SCORES_BOUND:g} and not one-hot; a rank is shared where the seeds cannot tell.",
    )


def _standing_cells(matrix: PayoffMatrix, standing: Standing) -> list[str]:
    cost, played = standing.cost, matrix.of_defense(standing.defense)
    return [
        f"  {_starred(matrix, standing.defense)}",
        _knew(played),
        f"{'~' if cost.borderline else ''}{100 * cost.decisions:.1f} ±{100 * cost.half:.1f}",
        f"{100 * cost.changed / cost.rows:.2f} %",
        "-" if cost.l1 is None else f"{cost.l1:.2f}",
        _mean_measure(played, "utility/brier_cost", "+.3f"),
        _percent(standing.worst_case),
        f"{standing.rank}",
    ]


def deployed_table(matrix: PayoffMatrix) -> RenderableType | None:
    """Return the fidelity to what is deployed where that is not the victim, None if it is everywhere."""
    replaced = [
        defense
        for defense in matrix.defenses
        if any("deployed/accuracy" in result.counts for result in matrix.of_defense(defense))
    ]
    if not replaced:
        return None
    table = _table("defense", "attack", numbers=["to the victim", "to the deployed", "deployed accuracy"])
    for defense in replaced:
        accuracy = _share(matrix.of_defense(defense), "deployed/accuracy")
        for attack in matrix.attacks:
            played = matrix.results.get((attack, defense), ())
            both = [_largest_over_seeds(played, name) for name in ("fidelity", "fidelity_deployed")]
            _add_row(table, matrix.short(defense), matrix.short(attack), *map(_percent, both), accuracy)
    return _titled(
        "Defenses that deploy another model",
        table,
        caption="Fidelity, %, of the best track to the undefended victim and to the model that answered; accuracy of the "
        "latter on the test rows.",
    )


def tradeoff_table(matrix: PayoffMatrix) -> RenderableType | None:
    """Return each swept defense along its parameter, None if nothing was swept."""
    curves = tradeoffs(matrix)
    if not curves:
        return None
    table = _table("defense", "value", "best thief", numbers=["defended accuracy", "L1", "clone accuracy"])
    for curve in curves:
        for point in curve.points:
            _add_row(
                table,
                curve.defense,
                f"{curve.parameter} = {point.value:g}",
                matrix.short(point.attack),
                f"{100 * point.defended:.1f}",
                "-" if point.l1 is None else f"{point.l1:.2f}",
                _percent(point.clone),
            )
        table.add_section()
    return _titled(
        "What each swept defense costs its users and a thief",
        table,
        *(Text(_least(curve)) for curve in curves),
        caption="Accuracy, %, of honest answers and of the best clone of the best thief. The least is over the swept values "
        "that cost honest users so much at most, no defense among them, chosen on the other seeds.",
    )


def _least(curve: TradeOff) -> str:
    """Return what clones get at best for the defender, for each loss of honest accuracy that it may cost."""
    losses = [(allowed, at_matched_loss(curve, allowed)) for allowed in ALLOWED_LOSSES]
    told = [f"{_percent(found)} at {100 * allowed:g}" for allowed, found in losses if found is not None]
    return f"{curve.defense}, least clone accuracy by points that honest users lose: {', '.join(told)}."


def threat_table(matrix: PayoffMatrix) -> RenderableType | None:
    """Return what finished clones were good for, a row an attack and defense, None if no threat was run."""
    keys = sorted({key for cell in matrix.results.values() for one in cell for key in one.counts if _is_threat(key)})
    if not keys:
        return None
    tables: list[RenderableType] = []
    for name in dict.fromkeys(key.split("/")[1] for key in keys):
        columns = [key for key in keys if key.split("/")[1] == name]
        table = _table("attack", "defense", numbers=[key.split("/", 2)[2].replace("/", "\n") for key in columns])
        for (attack, defense), played in matrix.results.items():
            shares = [_share(played, key) for key in columns]
            _add_row(table, matrix.short(attack), matrix.short(defense), *shares)
        tables += [Text(f"  {name}"), table]
    return _titled(
        "What the clones are good for, %",
        *tables,
        caption="Shares pooled over seeds of what each threat counts (arena list NAME says what); an evasion means something "
        "above its control alone. Pictures are in the run's folder.",
    )


def _is_threat(key: str) -> bool:
    return key.startswith("threat/")


def _largest_over_seeds(results: Sequence[MatchResult], name: str) -> Interval | None:
    """Return the largest share over tracks of a count, mean over seeds, None if no match has it."""
    values = []
    for result in results:
        counts = [result.counts[key] for key in (f"{track}/{name}" for track in TRACKS) if key in result.counts]
        if counts:
            values.append(max(hits / total for hits, total in counts))
    return mean_interval(values) if values else None


def broken_promises(matrix: PayoffMatrix) -> list[str]:
    """Return a line for each promise that a defense broke, or one that says on how many rows all were kept."""
    lines, checked = [], 0
    for defense in matrix.defenses:
        played = matrix.of_defense(defense)
        for key, words in PROMISES.items():
            counts = [result.counts[key] for result in played if key in result.counts]
            broken, rows = sum(count[0] for count in counts), sum(count[1] for count in counts)
            checked += rows
            if broken:
                lines.append(f"{matrix.short(defense)} broke its promise of {words} on {broken:,} of {rows:,} rows.")
    if checked and not lines:
        lines.append(f"No promise was broken, checked {checked:,} times on rows as they were sent.")
    return lines


def sentences(matrix: PayoffMatrix) -> list[str]:
    """Return three sentences that the numbers bear: what the table shows, what it costs, what it does not show."""
    return [_what_it_shows(matrix), _what_helps(matrix), _what_it_does_not_show(matrix)]


def match_table(result: MatchResult) -> RenderableType:
    """Return one match as rows of name and value; shares of test rows with their 95 % Wilson interval."""
    table = Table(box=SIMPLE, show_header=False, padding=(0, GUTTER - 1, 0, 0), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    sections = (_terms_rows, _score_rows, _honest_rows, _threat_rows, _trace_rows)
    for section in (rows(result) for rows in sections):
        for name, value in section:
            _add_row(table, name, value)
        table.add_section()
    return Group(Text(f"Match {matchup_id(result.matchup)}", style="bold"), table)


def _terms_rows(result: MatchResult) -> list[tuple[str, str]]:
    matchup, verdict = result.matchup, result.verdict
    told = "told the defense" if matchup.informed else "blind"
    reason = f": {verdict.reason}" if verdict.reason else ""
    blame = f" (fault: {verdict.fault}, stage {verdict.stage})" if verdict.fault != "nobody" else ""
    return [
        ("victim", f"{label(matchup.victim)}, {_share([result], 'victim/accuracy')} % accurate"),
        ("attack", f"{label(matchup.attack)}, {told}, pool {matchup.pool} {matchup.pool_source}".rstrip()),
        ("defense", f"{defense_label(matchup.defense, matchup.knowledge)}, knew {_knowledge(matchup.knowledge)}"),
        ("verdict", f"{verdict.outcome}{blame}{reason}"),
        (
            "asked",
            f"{result.spent:,} of {matchup.budget:,} units: {_counted(result.rows, 'row')}, {result.distinct_rows:,} "
            f"distinct, {_counted(result.calls, 'call')}",
        ),
    ]


def _score_rows(result: MatchResult) -> list[tuple[str, str]]:
    return [
        (words, f"fidelity {_estimate(result, f'{track}/fidelity')}, accuracy {_estimate(result, f'{track}/accuracy')}")
        for track, words in _TRACKS.items()
        if f"{track}/fidelity" in result.counts
    ]


def _honest_rows(result: MatchResult) -> list[tuple[str, str]]:
    cost = cost_of([result])
    if cost is None:
        return []
    shift = "" if cost.l1 is None else f", mean L1 {cost.l1:.2f}"
    lost = f"{100 * cost.decisions:.1f} points of accuracy lost"
    return [("honest users", f"{lost}, {cost.changed:,} of {cost.rows:,} decisions changed{shift}")]


def _threat_rows(result: MatchResult) -> list[tuple[str, str]]:
    """Return a row a threat: what it counted, and its picture."""
    rows: dict[str, list[str]] = {}
    for key, (hits, total) in result.counts.items():
        if _is_threat(key):
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
    if "attack/cpu_seconds" in result.measures:
        rows.append(("attack's time", f"{result.measures['attack/cpu_seconds']:.1f} CPU s"))
    rows.append(("its output", result.verdict.output[-SHOWN_OUTPUT:].rstrip()))
    return [(name, value) for name, value in rows if value]


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
    cost = cost_of(matrix.of_defense(strongest))
    price = "" if cost is None else f", at {100 * cost.decisions:.1f} points of honest accuracy"
    shift = "" if cost is None or cost.l1 is None else f" and a mean L1 of {cost.l1:.2f}"
    return (
        f"It shows: in the worst case over these attacks, {matrix.short(strongest)} leaves the least, "
        f"{_percent(known[strongest])} %{price}{shift}{_beside_label_only(matrix, strongest)}."
    )


def _beside_label_only(matrix: PayoffMatrix, strongest: str) -> str:
    """Return what releasing labels alone does, which no defense should need more than."""
    label_only = matrix.named(YARDSTICK_DEFENSE)
    if label_only is None:
        return "; releasing labels alone was not played"
    if strongest == label_only:
        return ""
    told = "which can be told apart" if told_apart(matrix, strongest, label_only) else "which cannot be told from it"
    return f"; labels alone leave {_percent(matrix.worst_case(label_only))} %, {told}"


def _what_it_does_not_show(matrix: PayoffMatrix) -> str:
    terms = matrix.terms
    informed = "" if matrix.informed else "; attacks that know the defense, which were not played"
    small = (
        "differences smaller than the intervals" if _seeds(matrix) >= FEWEST_SEEDS else "any difference at so few seeds"
    )
    return (
        f"It does not show: other victims, budgets or pools than {terms.victim}, {terms.budget:,} rows, {terms.pool}; "
        f"{small}{informed}."
    )


def _faults(results: Iterable[MatchResult]) -> list[RenderableType]:
    found = [result for result in results if result.verdict.outcome != "completed"]
    if not found:
        return []
    table = Table(box=SIMPLE_HEAD, padding=(0, GUTTER - 1, 0, 0), pad_edge=False)
    for column in ("match", "attack", "defense", "seed", "outcome", "fault", "reason"):
        table.add_column(column, overflow="fold")
    for result in found[:SHOWN_FAULTS]:
        matchup, verdict = result.matchup, result.verdict
        _add_row(
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
        _titled(
            "Matches that did not end well",
            table,
            caption=f"And {more} more, see results.csv. {caption}" if more > 0 else caption,
        )
    ]


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


def _estimate(result: MatchResult, key: str) -> str:
    hits, total = result.counts.get(key, (0, 0))
    if not total:
        return "missing"
    low, high = wilson(hits, total)
    return f"{100 * hits / total:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def _mean_measure(results: Sequence[MatchResult], key: str, form: str) -> str:
    values = [result.measures[key] for result in results if key in result.measures]
    return format(statistics.fmean(values), form) if values else "-"


def _knew(results: Sequence[MatchResult]) -> str:
    words = _knowledge(results[0].matchup.knowledge, apart="\n")
    return f"{words} (leak)" if any("leak" in result.flags for result in results) else words


def _knowledge(knowledge: Knowledge, *, apart: str = ", ") -> str:
    words = [
        f"{kind} {value}"
        for kind, value in (("surrogate", knowledge.surrogate), ("outliers", knowledge.outliers))
        if value != "none"
    ]
    return apart.join(words) or "nothing"


def _starred(matrix: PayoffMatrix, player: str) -> str:
    """Return a player's short name, with a star if it is a yardstick."""
    mark = " *" if matrix.specs[player].name in (YARDSTICK_ATTACK, YARDSTICK_DEFENSE) else ""
    return matrix.short(player) + mark


def _header(matrix: PayoffMatrix, defense: str) -> str:
    """Return a column's head; parameters, where a name needs them, stand below it."""
    name = _starred(matrix, defense).replace(" +", "\n+")
    return name.replace(")", "").replace("(", "\n").replace(", ", "\n")


def _table(*words: str, numbers: Sequence[str]) -> Table:
    """Return an empty table with columns of words and, right-justified, of numbers."""
    table = Table(box=SIMPLE_HEAD, padding=(0, GUTTER - 1, 0, 0), pad_edge=False)
    for column in words:
        table.add_column(Text(column), overflow="fold")
    for column in numbers:
        table.add_column(Text(column), justify="right", no_wrap=True)
    return table


def _add_row(table: Table, *cells: str) -> None:
    """Add cells as they are: a player's name is no markup."""
    table.add_row(*map(Text, cells))


def _titled(title: str, *parts: RenderableType, caption: str) -> RenderableType:
    """Return parts below a title and above a caption, which are as wide as the console, not as the table."""
    return Group(Text(title, style="bold"), *parts, Text(caption, style="dim"), Text())


def _plays(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _told(matrix: PayoffMatrix) -> str:
    if not matrix.informed:
        return "blind"
    return "informed" if len(matrix.informed) == len(matrix.attacks) else "blind and informed"


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _seeds(matrix: PayoffMatrix) -> int:
    return max((len(cell) for cell in matrix.payoffs.values()), default=0)


def transcript_table(transcript: Transcript, *, recorded: str) -> RenderableType:
    """Return the first calls of a transcript, and whether it has the digest that the result recorded."""
    same = "as recorded" if transcript.digest == recorded else f"NOT as recorded ({recorded})"
    table = _table("call", "account", "from", numbers=["rows", "price", "refused", "mean largest posterior"])
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
    return _titled(
        f"Transcript {transcript.digest}, {same}; hash chain ends in {transcript.link}",
        table,
        caption=f"{len(transcript.calls)} calls, {len(transcript.honest_calls)} of them honest; "
        f"the first {SHOWN_CALLS} are shown.",
    )
