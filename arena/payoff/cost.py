"""What a defense costs honest users, and the division and class that follow from it."""

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
"""The largest loss of honest accuracy in each division, as an exact share: a defense can lose exactly that much."""
SCORES_BOUND = 0.5  # the largest mean L1 shift at which released scores count as kept
ONE_HOT_SHARE = Fraction(99, 100)  # of released rows: from this share on, a defense releases labels
HONEST_ACCOUNTS = LIGHT_ACCOUNTS + 1  # each queries an image at most once


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What honest users lose because of one defense; shares, not points.

    ``lost`` is the mean loss over honest images, where each image is first averaged over attacks, seeds and repeated
    queries. An answer counts 1 if it is wrong and the undefended victim is right, -1 if it is the other way round, and
    0 otherwise; a refusal is wrong. Its interval accounts for other images and other seeds. ``changed`` counts the
    decisions that differ from the undefended victim's, right or wrong, among ``rows`` answers.
    """

    lost: Fraction
    low: float
    high: float
    images: int | None  # the number of distinct honest images; None: not recorded, and the interval is conservative
    changed: int
    rows: int
    l1: float | None
    score_class: ScoreClass

    @property
    def decisions(self) -> float:
        """The accuracy lost on honest traffic."""
        return float(self.lost)

    @property
    def half(self) -> float:
        """Half the width of the interval for `decisions`."""
        return (self.high - self.low) / 2

    @property
    def division(self) -> Division:
        if self.changed == 0:
            return "free"
        return next((division for division, border in BORDERS if self.lost <= border), "open")

    @property
    def borders(self) -> tuple[Division, ...]:
        """The divisions whose border lies inside the interval; none if no decision changed, which is an exact count."""
        return tuple(name for name, border in BORDERS if self.changed and self.low <= border <= self.high)

    @property
    def place(self) -> tuple[int, ScoreClass]:
        """A sort key by division, cheapest first, and class. Defenses with the same place are ranked together."""
        return DIVISIONS.index(self.division), self.score_class


def cost_of(results: Iterable[MatchResult]) -> Cost | None:
    """Return the cost of one defended victim, or None if no honest row was answered or counted."""
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
    """Return whether the released scores count as kept; a mean L1 shift of exactly the bound does."""
    one_hot, answered = pooled(results, ONE_HOT)
    labels = answered > 0 and one_hot >= ONE_HOT_SHARE * answered
    return "scores not kept" if labels or (l1 is not None and l1 > SCORES_BOUND + L1_SLACK) else "scores kept"


def _by_image(results: Sequence[MatchResult]) -> DecisionCost | None:
    """Return the cost with the honest image as the unit, or None if some result has no outcomes by image."""
    by_seed: dict[int, list[Outcomes]] = {}
    for result in results:
        outcomes = _recorded(result.honest, result)
        if outcomes is None:
            return None
        by_seed.setdefault(result.matchup.seed, []).append(outcomes)
    return decision_cost([summed(found) for found in by_seed.values()])


def _recorded(packed: HonestOutcomes | None, result: MatchResult) -> Outcomes | None:
    """Return the outcomes by image if the result has them and they agree with its counts."""
    if packed is None:
        return None
    outcomes = unpack(packed)
    right, asked = result.counts[HONEST_ACCURACY]
    sums = (outcomes.asked.sum(), outcomes.clean.sum(), outcomes.right.sum())
    return outcomes if sums == (asked, result.counts[CLEAN_ACCURACY].hits, right) else None


def _by_row(results: Sequence[MatchResult]) -> DecisionCost:
    """Return a conservative cost for results without outcomes by image.

    The number of distinct images is at least the rows of a match divided by its honest accounts, and every changed
    decision is assumed to be a loss or a gain, which gives the widest interval.
    """
    (hits, rows), (clean, _), (kept, _) = (pooled(results, name) for name in (HONEST_ACCURACY, CLEAN_ACCURACY, KEPT))
    most = max(result.counts[HONEST_ACCURACY].total for result in results)
    images = max(1, most // HONEST_ACCOUNTS)
    lost, changed = Fraction(clean - hits, rows), max(Fraction(rows - kept, rows), abs(Fraction(clean - hits, rows)))
    low, high = bonett_price(float((changed + lost) / 2), float((changed - lost) / 2), images=images)
    return DecisionCost(lost=lost, low=low, high=high, images=images)
