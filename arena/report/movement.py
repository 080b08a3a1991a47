"""What moved between two tournaments: the same cells and the same defenses in both, with one family of tests over all."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from arena.contracts import MatchResult
from arena.metrics.differences import (
    difference_interval,
    effect_size,
    holm,
    paired_p_value,
    unpaired_interval,
    unpaired_p_value,
)
from arena.metrics.intervals import MIN_SEEDS, Interval
from arena.payoff.cost import cost_of
from arena.payoff.matrix import PayoffMatrix, Setting, matrices

Measured = Literal["fidelity", "honest accuracy lost"]


@dataclass(frozen=True, kw_only=True)
class Movement:
    """How one number differs between two tournaments; both numbers are better for the owner of a model if they are low.

    ``difference`` is after minus before, over the seeds that both have if there are enough of them (``paired``), else
    over all seeds of each. ``moved`` is after Holm's correction over everything that was compared. ``size`` is the
    paired difference in standard deviations over seeds.
    """

    setting: Setting
    measured: Measured
    attack: str  # empty for what concerns all attacks on a defense
    defense: str
    attack_name: str  # the shortest name that is unique in the second tournament
    defense_name: str
    before: float
    after: float
    difference: Interval
    p_value: float
    size: float | None
    paired: bool
    moved: bool = False

    @property
    def tested(self) -> bool:
        """Whether there were enough seeds for a test."""
        return self.difference.low is not None

    @property
    def worse(self) -> bool:
        """Whether it moved in the direction that is bad for the owner of the model."""
        return self.moved and self.difference.mean > 0


@dataclass(frozen=True, kw_only=True)
class Cell:
    """An attack against a defense in one setting."""

    setting: Setting
    attack: str
    defense: str


@dataclass(frozen=True, kw_only=True)
class Movements:
    """Everything that both tournaments measured, the largest movements first, and what only one of them has."""

    found: tuple[Movement, ...]
    only_before: tuple[Cell, ...]
    only_after: tuple[Cell, ...]

    @property
    def moved(self) -> tuple[Movement, ...]:
        return tuple(one for one in self.found if one.moved)

    @property
    def worse(self) -> tuple[Movement, ...]:
        return tuple(one for one in self.found if one.worse)

    @property
    def untested(self) -> tuple[Movement, ...]:
        """What could be compared but not tested, because there are too few seeds."""
        return tuple(one for one in self.found if not one.tested)


def movements(before: Sequence[MatchResult], after: Sequence[MatchResult]) -> Movements:
    """Return what moved from one tournament to another, with a family-wise error rate of 5 % over all tests."""
    first, second = ({one.setting: one for one in matrices(results)} for results in (before, after))
    found = [one for setting in first if setting in second for one in _compared(first[setting], second[setting])]
    tested = [place for place, one in enumerate(found) if one.tested]
    rejected = holm([found[place].p_value for place in tested])
    for place, moved in zip(tested, rejected, strict=True):
        found[place] = replace(found[place], moved=moved)
    cells = [{cell for matrix in side.values() for cell in _cells(matrix)} for side in (first, second)]
    return Movements(
        found=tuple(sorted(found, key=_largest_first)),
        only_before=tuple(sorted(cells[0] - cells[1], key=_by_name)),
        only_after=tuple(sorted(cells[1] - cells[0], key=_by_name)),
    )


def _compared(before: PayoffMatrix, after: PayoffMatrix) -> list[Movement]:
    found = [
        _movement(after, "fidelity", place, _Both(before=before.payoffs[place], after=after.payoffs[place]))
        for place in before.payoffs
        if place in after.payoffs
    ]
    for defense in before.defenses:
        if defense in after.defenses:
            lost = _Both(before=_lost(before, defense), after=_lost(after, defense))
            if lost.before and lost.after:
                found.append(_movement(after, "honest accuracy lost", ("", defense), lost))
    return found


@dataclass(frozen=True, kw_only=True)
class _Both:
    """One number in both tournaments, by seed."""

    before: Mapping[int, float]
    after: Mapping[int, float]


def _movement(after: PayoffMatrix, measured: Measured, place: tuple[str, str], both: _Both) -> Movement:
    seeds, images = sorted(both.before.keys() & both.after.keys()), after.images
    paired = len(seeds) >= MIN_SEEDS or set(both.before) == set(both.after)
    if paired:
        first, second = ([side[seed] for seed in seeds] for side in (both.before, both.after))
        differences = [two - one for one, two in zip(first, second, strict=True)]
        interval = difference_interval(differences, images=images)
        p_value, size = paired_p_value(differences, images=images), effect_size(differences)
    else:
        first, second = list(both.before.values()), list(both.after.values())
        interval = unpaired_interval(first, second, images=images)
        p_value, size = unpaired_p_value(first, second, images=images), None
    attack, defense = place
    return Movement(
        setting=after.setting,
        measured=measured,
        attack=attack,
        defense=defense,
        attack_name=after.short(attack) if attack else "",
        defense_name=after.short(defense),
        before=statistics.fmean(first),
        after=statistics.fmean(second),
        difference=interval,
        p_value=p_value,
        size=size,
        paired=paired,
    )


def _lost(matrix: PayoffMatrix, defense: str) -> dict[int, float]:
    """Return the accuracy that honest users lost by seed, over the attacks of that seed."""
    by_seed: dict[int, list[MatchResult]] = {}
    for result in matrix.of_defense(defense):
        by_seed.setdefault(result.matchup.seed, []).append(result)
    costs = {seed: cost_of(results) for seed, results in by_seed.items()}
    return {seed: cost.decisions for seed, cost in costs.items() if cost is not None}


def _cells(matrix: PayoffMatrix) -> list[Cell]:
    return [Cell(setting=matrix.setting, attack=attack, defense=defense) for attack, defense in matrix.payoffs]


def _largest_first(one: Movement) -> tuple[bool, float]:
    return not one.moved, -abs(one.difference.mean)


def _by_name(cell: Cell) -> tuple[Setting, str, str]:
    return cell.setting, cell.attack, cell.defense
