"""What a payoff matrix shows, in sentences that its numbers bear."""

from __future__ import annotations

from collections.abc import Sequence

from arena.contracts import UNDEFENDED, CountName, MatchResult
from arena.contracts import scores as names
from arena.metrics.intervals import MIN_SEEDS, Interval
from arena.payoff.comparison import against_attack
from arena.payoff.matrix import PayoffMatrix, pooled
from arena.payoff.ranking import cost_of, told_apart

YARDSTICK_ATTACK, YARDSTICK_DEFENSE = "knockoff", "label-only"
FLOOR = names.clone_count("floor", "fidelity")


def share(results: Sequence[MatchResult], name: CountName) -> float | None:
    """Return a count pooled over results as a share, None if no result has it."""
    count = pooled(results, name)
    return count.share if count.total else None


def percent(interval: Interval | None) -> str:
    """Return a share and the half-width of its interval in percent: ``90.1 ±3.0``."""
    if interval is None:
        return "missing"
    return f"{100 * interval.mean:.1f}" + (f" ±{100 * interval.half:.1f}" if interval.half is not None else "")


def percent_of(share: float | None) -> str:
    """Return a share in percent, ``-`` where there is none."""
    return "-" if share is None else f"{100 * share:.1f}"


def sentences(matrix: PayoffMatrix) -> list[str]:
    """Return three sentences that the numbers bear: what the table shows, what it costs, what it does not show."""
    return [_what_it_shows(matrix), _what_helps(matrix), _what_it_does_not_show(matrix)]


def _what_it_shows(matrix: PayoffMatrix) -> str:
    best = _best_attack(matrix)
    cell = matrix.cell(best, UNDEFENDED.name) if best else None
    if best is None or cell is None:
        return "It shows no undefended victim, so it cannot say what a defense buys: add the defense none."
    floor = percent_of(share(matrix.of_defense(UNDEFENDED.name), FLOOR))
    return (
        f"It shows: {matrix.setting.budget:,} rows steal the undefended victim to {percent(cell)} % fidelity "
        f"({matrix.short(best)}), where a clone that asked nothing has {floor} %; {_beside_random(matrix)}."
    )


def _best_attack(matrix: PayoffMatrix) -> str | None:
    """Return the attack that gets the most from the undefended victim."""
    cells = {attack: cell for attack in matrix.attacks if (cell := matrix.cell(attack, UNDEFENDED.name)) is not None}
    return max(cells, key=lambda attack: cells[attack].mean) if cells else None


def _beside_random(matrix: PayoffMatrix) -> str:
    """Return which attacks can be told from random queries on the undefended victim."""
    random = matrix.named(YARDSTICK_ATTACK)
    if random is None:
        return "random queries were not played"
    compared = against_attack(matrix, random, UNDEFENDED.name)
    told = [f"{matrix.short(one.player)} ({100 * one.difference.mean:+.1f})" for one in compared if one.distinct]
    if told:
        return f"told apart from random queries there: {', '.join(told)}"
    return "no attack can be told from random queries there"


def _what_helps(matrix: PayoffMatrix) -> str:
    cases = {defense: matrix.worst_case(defense) for defense in matrix.defenses}
    played = {defense: case for defense, case in cases.items() if case is not None and defense != UNDEFENDED.name}
    if not played:
        return "It plays no defense."
    strongest = min(played, key=lambda defense: played[defense].mean)
    cost = cost_of(matrix.of_defense(strongest))
    price = "" if cost is None else f", at {100 * cost.decisions:.1f} points of honest accuracy"
    shift = "" if cost is None or cost.l1 is None else f" and a mean L1 of {cost.l1:.2f}"
    return (
        f"It shows: in the worst case over these attacks, {matrix.short(strongest)} leaves the least, "
        f"{percent(played[strongest])} %{price}{shift}{_beside_label_only(matrix, strongest)}."
    )


def _beside_label_only(matrix: PayoffMatrix, strongest: str) -> str:
    """Return what releasing labels alone does, which no defense should need more than."""
    label_only = matrix.named(YARDSTICK_DEFENSE)
    if label_only is None:
        return "; releasing labels alone was not played"
    if strongest == label_only:
        return ""
    told = "which can be told apart" if told_apart(matrix, strongest, label_only) else "which cannot be told from it"
    return f"; labels alone leave {percent(matrix.worst_case(label_only))} %, {told}"


def _what_it_does_not_show(matrix: PayoffMatrix) -> str:
    setting = matrix.setting
    informed = "" if matrix.informed else "; attacks that know the defense, which were not played"
    seeds = max((len(cell) for cell in matrix.payoffs.values()), default=0)
    small = "differences smaller than the intervals" if seeds >= MIN_SEEDS else "any difference at so few seeds"
    return (
        f"It does not show: other victims, budgets or pools than {setting.victim}, {setting.budget:,} rows, "
        f"{setting.pool}; {small}{informed}."
    )
