"""What a defense costs the honest users, and the division that it plays in."""

from __future__ import annotations

import statistics
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from arena.contracts import HonestOutcomes, MatchResult
from arena.contracts.scores import CLEAN_ACCURACY, HONEST_ACCURACY, KEPT, L1, ONE_HOT
from arena.metrics.decision_cost import DecisionCost, bonett_price, decision_cost
from arena.metrics.honest_outcomes import Outcomes, summed, unpack
from arena.metrics.utility import L1_SLACK
from arena.oracle.honest import LIGHT_ACCOUNTS
from arena.payoff.matrix import pooled

Division = Literal["free", "1pt", "5pt", "open"]
ScoreClass = Literal["scores kept", "scores not kept"]

DIVISIONS: tuple[Division, ...] = typing.get_args(Division)
BORDERS: tuple[tuple[Division, Fraction], ...] = (("1pt", Fraction(1, 100)), ("5pt", Fraction(5, 100)))
"""Points of honest accuracy that may be lost, as exact shares: a defense can lose just as much, and then is inside."""
SCORES_BOUND = 0.5  # mean L1 shift up to which released scores still count as scores
ONE_HOT_SHARE = Fraction(99, 100)  # of released rows: from here on they are labels
HONEST_ACCOUNTS = LIGHT_ACCOUNTS + 1  # none asks an image twice


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What honest users lose by one defense; shares, not points.

    ``lost`` is the mean over honest images, each of them a mean over attacks, seeds and repeats; an image that the
    undefended victim reads right and the answer wrong counts 1, the reverse -1, a refusal as wrong. Its interval holds
    for other images and other seeds. ``changed`` counts decisions that are not the undefended victim's, whether right
    or wrong, among ``rows`` answers.
    """

    lost: Fraction
    low: float
    high: float
    images: int | None  # different honest images; None: the matches did not record them, and the interval is the widest
    changed: int
    rows: int
    l1: float | None
    score_class: ScoreClass

    @property
    def decisions(self) -> float:
        """Accuracy lost on honest traffic."""
        return float(self.lost)

    @property
    def half(self) -> float:
        """Half of the width of the interval of `decisions`."""
        return (self.high - self.low) / 2

    @property
    def division(self) -> Division:
        if self.changed == 0:
            return "free"
        return next((division for division, border in BORDERS if self.lost <= border), "open")

    @property
    def borders(self) -> tuple[Division, ...]:
        """The divisions whose border lies inside the interval; that no decision changed is a count, and has none."""
        return tuple(name for name, border in BORDERS if self.changed and self.low <= border <= self.high)

    @property
    def place(self) -> tuple[int, ScoreClass]:
        """Sorts by division, cheapest first, and class: defenses with the same place are ranked together."""
        return DIVISIONS.index(self.division), self.score_class


def cost_of(results: Iterable[MatchResult]) -> Cost | None:
    """Return the cost of one defended victim, None if no honest row was answered or counted."""
    played = [result for result in results if HONEST_ACCURACY in result.counts]
    kept, rows = pooled(played, KEPT)
    if rows == 0:
        return None
    by_image = _by_image(played)
    found = by_image or _by_row(played)
    shifts = [result.measures[L1] for result in played if L1 in result.measures]
    l1 = statistics.fmean(shifts) if shifts else None
    return Cost(
        lost=found.lost,
        low=found.low,
        high=found.high,
        images=by_image.images if by_image else None,
        changed=rows - kept,
        rows=rows,
        l1=l1,
        score_class=_score_class(played, l1),
    )


def _score_class(results: Sequence[MatchResult], l1: float | None) -> ScoreClass:
    """Return whether what is released still is a score; a defense that moves rows by just the bound keeps its own."""
    one_hot, answered = pooled(results, ONE_HOT)
    labels = answered > 0 and one_hot >= ONE_HOT_SHARE * answered
    return "scores not kept" if labels or (l1 is not None and l1 > SCORES_BOUND + L1_SLACK) else "scores kept"


def _by_image(results: Sequence[MatchResult]) -> DecisionCost | None:
    """Return the cost with honest images as the unit, None if some result does not say what became of each."""
    by_seed: dict[int, list[Outcomes]] = {}
    for result in results:
        outcomes = _recorded(result.honest, result)
        if outcomes is None:
            return None
        by_seed.setdefault(result.matchup.seed, []).append(outcomes)
    return decision_cost([summed(found) for found in by_seed.values()])


def _recorded(packed: HonestOutcomes | None, result: MatchResult) -> Outcomes | None:
    """Return a result's outcomes by image if they are there and agree with its counts."""
    if packed is None:
        return None
    outcomes = unpack(packed)
    right, asked = result.counts[HONEST_ACCURACY]
    sums = (outcomes.asked.sum(), outcomes.clean.sum(), outcomes.right.sum())
    return outcomes if sums == (asked, result.counts[CLEAN_ACCURACY].hits, right) else None


def _by_row(results: Sequence[MatchResult]) -> DecisionCost:
    """Return the cost where images were not recorded: there are at least as many as one match's rows / its accounts.

    All decisions that changed are taken to have changed from right to wrong or back, which is the widest interval.
    """
    (hits, rows), (clean, _), (kept, _) = (pooled(results, name) for name in (HONEST_ACCURACY, CLEAN_ACCURACY, KEPT))
    most = max(result.counts[HONEST_ACCURACY].total for result in results)
    images = max(1, most // HONEST_ACCOUNTS)
    lost, changed = Fraction(clean - hits, rows), max(Fraction(rows - kept, rows), abs(Fraction(clean - hits, rows)))
    low, high = bonett_price(float((changed + lost) / 2), float((changed - lost) / 2), images=images)
    return DecisionCost(lost=lost, low=low, high=high, images=images)
