"""What a payoff matrix shows, in sentences that its numbers bear."""

from __future__ import annotations

from collections.abc import Sequence

from arena.contracts import UNDEFENDED, CountName, MatchResult
from arena.contracts import scores as names
from arena.metrics.intervals import MIN_SEEDS, Interval, for_new_images
from arena.payoff.comparison import against_attack, worst_cases_against
from arena.payoff.cost import cost_of
from arena.payoff.matrix import PayoffMatrix, pooled
from arena.payoff.ranking import strongest_defense

YARDSTICK_ATTACK, YARDSTICK_DEFENSE = "knockoff", "label-only"
FLOOR = names.clone_count("floor", "fidelity")


def share(results: Sequence[MatchResult], name: CountName) -> float | None:
    """Return a count pooled over results as a share, None if no result has it."""
    count = pooled(results, name)
    return count.share if count.total else None


def percent(interval: Interval | None) -> str:
    """Return a share and the half-width of its interval in percent: ``90.1 ±3.0``, ``~3.0`` if it is approximate."""
    if interval is None:
        return "missing"
    sign = "~" if interval.approximate else "±"
    return f"{100 * interval.mean:.1f}" + (f" {sign}{100 * interval.half:.1f}" if interval.half is not None else "")


def percent_range(interval: Interval | None) -> str:
    """Return the ends of an interval in percent, ``87.1-93.0``, empty where there is none."""
    if interval is None or interval.low is None or interval.high is None:
        return ""
    return f"{100 * interval.low:.1f}-{100 * interval.high:.1f}"


def percent_and_range(interval: Interval | None) -> str:
    """Return a share and the ends of its interval in percent: ``90.1 (87.1-93.0)``."""
    ends = percent_range(interval)
    return "missing" if interval is None else f"{100 * interval.mean:.1f}" + (f" ({ends})" if ends else "")


def percent_of(share: float | None) -> str:
    """Return a share in percent, ``-`` where there is none."""
    return "-" if share is None else f"{100 * share:.1f}"


def of_intervals(matrix: PayoffMatrix) -> str:
    """Return what the intervals of a matrix speak of, and what they do not."""
    seeds, of = matrix.seeds, f"for these {matrix.images:,} test images and this victim"
    if seeds >= MIN_SEEDS:
        return (
            f"Intervals are 95 % over {seeds} seeds, {of}; the sentences below add the wider one that holds for new "
            "images too."
        )
    shared = any(cell.approximate for cell in matrix.cells.values())
    many = f"{seeds} seeds are" if seeds != 1 else "1 seed is"
    values = f"{many} too few for ranks and tests: below each mean stand the values that it is the mean of, {of}."
    return values + (
        " ~ is a 95 % half-width from the variance that all cells share: right on average, not for each."
        if shared
        else ""
    )


def sentences(matrix: PayoffMatrix) -> list[str]:
    """Return three sentences that the numbers bear: what the table shows, what it costs, what it does not show."""
    return [_what_it_shows(matrix), _what_helps(matrix), _what_it_does_not_show(matrix)]


def _what_it_shows(matrix: PayoffMatrix) -> str:
    worst = matrix.worst_case(UNDEFENDED.name)
    if worst is None:
        return "It shows no undefended victim, so it cannot say what a defense buys: add the defense none."
    floor = percent_of(share(matrix.of_defense(UNDEFENDED.name), FLOOR))
    return (
        f"It shows: {matrix.setting.budget:,} rows steal the undefended victim to {_general(matrix, worst.interval)} "
        f"fidelity ({matrix.short(worst.attack)}), where a clone that asked nothing has {floor} %; "
        f"{_beside_random(matrix)}."
    )


def _general(matrix: PayoffMatrix, interval: Interval) -> str:
    """Return a share with its interval, and the wider one for new images, since the sentence speaks of any image."""
    wider = percent_range(for_new_images(interval, images=matrix.images))
    ends = percent_range(interval)
    return f"{100 * interval.mean:.1f} %" + (f" ({ends}; new images {wider})" if ends else "")


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
    strongest = strongest_defense(matrix, [one for one in matrix.defenses if one != UNDEFENDED.name])
    if strongest is None:
        return "It plays no defense."
    cost = cost_of(matrix.of_defense(strongest.defense))
    price = "" if cost is None else f", at {100 * cost.decisions:.1f} points of honest accuracy"
    shift = "" if cost is None or cost.l1 is None else f" and a mean L1 of {cost.l1:.2f}"
    return (
        f"It shows: in the worst case over these attacks, {matrix.short(strongest.defense)} leaves the least, "
        f"{_general(matrix, strongest.interval)}{price}{shift}{_beside_label_only(matrix, strongest.defense)}."
    )


def _beside_label_only(matrix: PayoffMatrix, strongest: str) -> str:
    """Return what releasing labels alone does, which no defense should need more than."""
    label_only = matrix.named(YARDSTICK_DEFENSE)
    if label_only is None:
        return "; releasing labels alone was not played"
    if strongest == label_only:
        return ""
    distinct = any(one.distinct for one in worst_cases_against(matrix, label_only) if one.player == strongest)
    told = "which can be told apart" if distinct else "which cannot be told from it"
    worst = matrix.worst_case(label_only)
    return f"; labels alone leave {_general(matrix, worst.interval) if worst else 'nothing that was played'}, {told}"


def _what_it_does_not_show(matrix: PayoffMatrix) -> str:
    setting = matrix.setting
    informed = "" if matrix.informed else "; attacks that know the defense, which were not played"
    small = "differences smaller than the intervals" if matrix.seeds >= MIN_SEEDS else "any difference at so few seeds"
    return (
        f"It does not show: other victims, budgets or pools than {setting.victim}, {setting.budget:,} rows, "
        f"{setting.pool}; {small}{informed}."
    )
