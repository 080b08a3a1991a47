"""Sentences that summarise a payoff matrix and are supported by its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from arena.contracts import UNDEFENDED, CountName, MatchResult
from arena.contracts import scores as names
from arena.metrics.intervals import MIN_SEEDS, Interval, for_new_images
from arena.payoff.comparison import against_attack, worst_cases_against
from arena.payoff.cost import cost_of
from arena.payoff.matrix import PayoffMatrix, pooled
from arena.payoff.ranking import strongest_defense
from arena.report.rich_tables import counted

YARDSTICK_ATTACK, YARDSTICK_DEFENSE = "knockoff", "label-only"
FLOOR = names.clone_count("floor", "fidelity")


def share(results: Sequence[MatchResult], name: CountName) -> float | None:
    """Return a count pooled over results as a share, or None if no result has it."""
    count = pooled(results, name)
    return count.share if count.total else None


def percent(interval: Interval | None) -> str:
    """Return a share and the half-width of its interval in percent: ``90.1 ±3.0``, or ``90.1 ~3.0`` if approximate."""
    if interval is None:
        return "missing"
    sign = "~" if interval.approximate else "±"
    return f"{100 * interval.mean:.1f}" + (f" {sign}{100 * interval.half:.1f}" if interval.half is not None else "")


def percent_range(interval: Interval | None) -> str:
    """Return the ends of an interval in percent, ``87.1-93.0``, or an empty string if there is none."""
    if interval is None or interval.low is None or interval.high is None:
        return ""
    return f"{100 * interval.low:.1f}-{100 * interval.high:.1f}"


def percent_and_range(interval: Interval | None) -> str:
    """Return a share and the ends of its interval in percent: ``90.1 (87.1-93.0)``."""
    ends = percent_range(interval)
    return "missing" if interval is None else f"{100 * interval.mean:.1f}" + (f" ({ends})" if ends else "")


def percent_of(share: float | None) -> str:
    """Return a share in percent, or ``-`` if there is none."""
    return "-" if share is None else f"{100 * share:.1f}"


def points(share: float) -> str:
    """Return a share as points: ``1.8 points``."""
    return f"{100 * share:.1f} points"


def of_ranks(resolved: str) -> str:
    """Return what ranks mean, given the smallest differences that are detected about half of the time."""
    return (
        "all ranks of a group hold simultaneously with 95 % confidence, and the smallest difference that is detected about "
        f"half of the time is {resolved}"
    )


def of_intervals(matrix: PayoffMatrix) -> str:
    """Return a sentence that says what the intervals of a matrix cover."""
    seeds, of = matrix.seeds, f"for these {matrix.images:,} test images and this trained victim"
    if seeds >= MIN_SEEDS:
        return (
            f"95 % intervals over {seeds} seeds, {of}; the summary below also gives the wider interval that holds for "
            "new images."
        )
    shared = any(cell.approximate for cell in matrix.cells.values())
    values = f"{counted(seeds, 'seed')}, which is too few for ranks and tests: values and their means, {of}."
    return values + (
        " ~ marks approximate 95 % half-widths from a pooled variance: right on average, but not for each cell."
        if shared
        else ""
    )


def sentences(matrix: PayoffMatrix) -> list[str]:
    """Return three sentences: what was extracted, which defense helps most at what cost, and what is not shown."""
    return [_what_it_shows(matrix), _what_helps(matrix), _what_it_does_not_show(matrix)]


def _what_it_shows(matrix: PayoffMatrix) -> str:
    worst = matrix.worst_case(UNDEFENDED.name)
    if worst is None:
        return "No undefended victim was played, so the effect of a defense is unknown: add the defense none."
    floor = percent_of(share(matrix.of_defense(UNDEFENDED.name), FLOOR))
    return (
        f"With {matrix.setting.budget:,} rows, {matrix.short(worst.attack)} extracts the undefended victim with a "
        f"fidelity of {_general(matrix, worst.interval)}, compared with {floor} % for a clone without queries; "
        f"{_beside_random(matrix)}."
    )


def _general(matrix: PayoffMatrix, interval: Interval) -> str:
    """Return a share with its interval and the wider one for new images, for use in a general statement."""
    wider = percent_range(for_new_images(interval, images=matrix.images))
    ends = percent_range(interval)
    return f"{100 * interval.mean:.1f} %" + (f" ({ends}; new images {wider})" if ends else "")


def _beside_random(matrix: PayoffMatrix) -> str:
    """Return which attacks differ significantly from random queries on the undefended victim."""
    random = matrix.named(YARDSTICK_ATTACK)
    if random is None:
        return "random queries were not played for comparison"
    compared = against_attack(matrix, random, UNDEFENDED.name)
    told = [f"{matrix.short(one.player)} ({100 * one.difference.mean:+.1f})" for one in compared if one.distinct]
    if told:
        return f"significantly different from random queries: {', '.join(told)}"
    return "no attack differs significantly from random queries"


def _what_helps(matrix: PayoffMatrix) -> str:
    strongest = strongest_defense(matrix, [one for one in matrix.defenses if one != UNDEFENDED.name])
    if strongest is None:
        return "No defense was played that can be compared."
    cost = cost_of(matrix.of_defense(strongest.defense))
    price = "" if cost is None else f", at {100 * cost.decisions:.1f} points of honest accuracy"
    shift = "" if cost is None or cost.l1 is None else f" and a mean L1 of {cost.l1:.2f}"
    return (
        f"{matrix.short(strongest.defense)} has the lowest worst case over these attacks, "
        f"{_general(matrix, strongest.interval)}{price}{shift}{_beside_label_only(matrix, strongest.defense)}."
    )


def _beside_label_only(matrix: PayoffMatrix, strongest: str) -> str:
    """Return the comparison with releasing labels only, the yardstick for every defense."""
    label_only = matrix.named(YARDSTICK_DEFENSE)
    if label_only is None:
        return "; releasing labels only was not played for comparison"
    if strongest == label_only:
        return ""
    distinct = any(one.distinct for one in worst_cases_against(matrix, label_only) if one.player == strongest)
    told = "a significant difference" if distinct else "not a significant difference"
    worst = matrix.worst_case(label_only)
    return f"; with labels only it is {_general(matrix, worst.interval) if worst else 'missing'}, {told}"


def _what_it_does_not_show(matrix: PayoffMatrix) -> str:
    setting = matrix.setting
    informed = "" if matrix.informed else "; attacks that know the defense (none was played)"
    small = (
        "differences smaller than the intervals" if matrix.seeds >= MIN_SEEDS else "any difference, with so few seeds"
    )
    return (
        f"Not shown: other victims, budgets or pools than {setting.victim}, {setting.budget:,} rows, {setting.pool}; "
        f"{small}{informed}."
    )
