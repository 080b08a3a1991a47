"""Copy a network of one hidden layer exactly: find where each hidden unit switches, and solve for everything else.

Along a line, the log-ratios of the answers are piecewise linear, and each kink is one unit that switches. The Jacobians
on its two sides differ by a matrix of rank one, whose row space is the weight row of the unit.
Source: Jagielski, Carlini, Berthelot, Kurakin, Papernot, "High Accuracy and High Fidelity Extraction of Neural
Networks", USENIX Security 2020, arXiv 1909.01838. Carlini, Jagielski, Mironov, "Cryptanalytic Extraction of Neural
Network Models", CRYPTO 2020, arXiv 2003.04884.
Departures: Jacobians in place of second differences along the axes use all classes and need no sign of a unit. Steps
follow from a measured noise level, and a least-squares polish over hyperplanes and coefficients makes float32 answers
enough. Units that the search along lines missed are looked for in what the model does not explain. Equivalence is meant
on the box [0, 1]^d: a unit that never switches there belongs to the affine part. If the answers are rounded, noisy or
hard labels, or if the network is deeper, the clone is a network that is fitted to all answers, as by ``retraining``.
Facts of the result: ``units``, and ``worst_check``, the largest error of a log-ratio on the held-out rows.
Published number: fidelity of 100 % for one hidden layer. Reproduced: number, on networks of up to 32 units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from arena.attacks.equation_solving import why_inexact
from arena.attacks.parts.kinks import Line, Observed, hyperplane, kinks_on, second_differences, through
from arena.attacks.parts.relu_units import Fit, as_clone, fitted, no_units, polished
from arena.attacks.parts.transfer_set import TransferSet
from arena.attacks.retraining import Retraining
from arena.contracts import Attack, AttackContext, BadParameter, Oracle, StopReason
from arena.learning.randomness import child

SEGMENTS, SEGMENT_ROWS, SEGMENT_LENGTH = 4, 9, 2e-3  # on which the noise is measured
SMALLEST_NOISE, LARGEST_NOISE = 1e-13, 1e-5  # of a second difference of log-ratios; beyond, kinks are lost in it
KNOWN = 4e-3  # of the line: a kink that near to the crossing of a known unit is the unit's
PRECISION, COARSE_PRECISION = 5e-3, 0.03  # of a Jacobian, relative to its jump
JITTER = 0.2  # of a vertex of the box through which a line passes
PROBES = 48  # rows that show missing units, half of them from the pool
OUTLYING, MISSING = (20, 10), (100, 30)  # times the noise, and times the median error: left out of a fit; unexplained
COMPLETIONS, LINES_EACH = 12, 4
MOST_UNKNOWNS = 4_000  # weights of hidden units, which a polish solves for at once
NEGLIGIBLE = 1e-3  # of the largest coefficients: such a unit is noise
FINAL_ROWS = 400  # at least, on which the last polish is done
EXACT = (1e-4, 100)  # of a log-ratio, and times the noise: the held-out rows may be off by the larger


class _NotEnough(Exception):
    """The budget or the time ends before the network is known, or it has more weights than a polish can solve for."""


@dataclass(frozen=True, kw_only=True)
class FunctionalEquivalence(Attack):
    """Searches until ``quiet`` lines in a row show no new unit; each polish takes up to ``iterations``.

    It stops if ``n_check`` held-out rows agree. Otherwise it spends the rest of the budget, and returns its own clone or
    one fitted as by `Retraining`, whichever predicts the held-out rows better.
    """

    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"solved exactly"})

    quiet: int = 20
    iterations: int = 8
    n_check: int = 32

    def __post_init__(self) -> None:
        if min(self.quiet, self.iterations, self.n_check) < 1:
            message = "quiet, iterations and n_check must be at least 1"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Find all units and solve; if that is not exact, spend the rest of the budget and fit."""
        search = _Search(self, oracle, context, rng=rng)
        fit = search.solved()
        context.note("units", len(fit.units) if fit else 0)
        clone = as_clone(fit, oracle.task, rng=rng).to(context.device) if fit else None
        if clone and search.is_exact:
            return clone
        search.spend_the_rest()
        hidden = max(len(fit.units) if fit else 0, Retraining.hidden)
        retrained = Retraining(hidden=hidden).fitted(search.transfer_set, context, rng=child(rng))
        return search.better(clone, retrained) if clone else retrained


class _Search:
    """The search for the hidden units in one match."""

    def __init__(
        self, attack: FunctionalEquivalence, oracle: Oracle, context: AttackContext, *, rng: Generator
    ) -> None:
        self._attack, self._context, self._rng = attack, context, child(rng)
        self.transfer_set, self._judged = TransferSet(oracle), list[TransferSet]()
        self._shape, self._columns = oracle.task.shape, math.prod(oracle.task.shape)
        self._pool = context.pool[torch.randperm(len(context.pool), generator=self._rng)]
        self._units, self._noise = no_units(self._columns), SMALLEST_NOISE
        self._strengths: list[float] = []  # the jumps that the estimates of the units come from
        self._explained: Fit | None = None  # what is known while further units are looked for
        self._worst = math.inf  # error of a log-ratio on the last held-out rows

    @property
    def is_exact(self) -> bool:
        return self._worst <= max(EXACT[0], EXACT[1] * self._noise)

    def solved(self) -> Fit | None:
        """Return the best fit that the budget allows, or None if the answers are inexact or it allows none."""
        fit = None
        try:
            if not self._is_measurable():
                return None
            self._follow_lines()
            self._ask(self._mixed(PROBES))
            for _ in range(COMPLETIONS):
                self._find_what_is_missing()
                self._units = fitted(self._units, self._all_rows()).without_negligible(NEGLIGIBLE).units
                self._ask(self._uniform(self._final_rows()))
                fit = polished(self._units, self._all_rows(), iterations=self._attack.iterations)
                self._check(fit)
                if self.is_exact:
                    break
        except _NotEnough:
            pass
        return fit

    def _check(self, fit: Fit) -> None:
        """Compare the fit with fresh rows; those of earlier checks are evidence from now on."""
        self._judged.append(TransferSet(self.transfer_set.oracle))
        seen = self._ask(self._mixed(self._attack.n_check), into=self._judged[-1])
        self._worst = float(fit.errors(seen).max())
        self._context.note("worst_check", self._worst)

    def spend_the_rest(self) -> None:
        """Query as many rows as are left, half of them from the pool as long as it lasts."""
        self.transfer_set.extend(self._shaped(self._mixed(self.transfer_set.remaining)))

    def better(self, one: nn.Module, other: nn.Module) -> nn.Module:
        """Return the clone whose posteriors are nearer in L1 to the answers of the last check."""
        inputs, released = (part.to(self._context.device) for part in self._judged[-1].answered())
        with torch.no_grad():
            errors = [float((clone(inputs).softmax(dim=1) - released).abs().sum()) for clone in (one, other)]
        return one if errors[0] <= errors[1] else other

    def _is_measurable(self) -> bool:
        """Measure the noise of second differences on short segments; False if the answers are inexact."""
        starts = SEGMENT_LENGTH + (1 - 2 * SEGMENT_LENGTH) * self._uniform(SEGMENTS)
        ways = torch.randn(SEGMENTS, self._columns, generator=self._rng, dtype=torch.float64)
        ways = SEGMENT_LENGTH * ways / ways.norm(dim=1, keepdim=True)
        places = torch.linspace(0, 1, SEGMENT_ROWS, dtype=torch.float64).reshape(1, -1, 1)
        seen = self._ask((starts.unsqueeze(1) + places * ways.unsqueeze(1)).flatten(0, 1))
        if why_inexact(self.transfer_set.released):
            return False
        bends = second_differences(seen.values.unflatten(0, (SEGMENTS, SEGMENT_ROWS))).abs()
        self._noise = max(float(bends.flatten(1).median(dim=1).values.max()), SMALLEST_NOISE)
        return self._noise <= LARGEST_NOISE

    def _follow_lines(self) -> None:
        quiet, number = 0, 0
        while quiet < self._attack.quiet:
            before = len(self._units)
            self._follow(self._line(number), precision=PRECISION)
            quiet, number = (0 if len(self._units) > before else quiet + 1), number + 1

    def _line(self, number: int) -> Line:
        """Return a line through two uniform points, through a vertex and its antipode, or through two pool rows."""
        if number % 3 == 1:  # a unit that switches only in a corner is met by no line between uniform points
            vertex = torch.randint(2, (1, self._columns), generator=self._rng).double()
            ends = torch.cat([vertex, 1 - vertex])
            return through(*(ends + JITTER * (self._uniform(2) - ends)))
        ends = self._pool_rows(2) if number % 3 == 2 else self._uniform(2)
        return through(*(ends if len(ends) == 2 and bool((ends[0] != ends[1]).any()) else self._uniform(2)))

    def _follow(self, line: Line, *, precision: float) -> None:
        """Add the unit of each kink on a line that no known unit explains."""
        for kink in kinks_on(line, self._unexplained, noise=self._noise):
            if bool(((self._units.crossings(line) - kink.place).abs() < KNOWN).any()):
                continue
            plane = hyperplane(line, kink, self._unexplained, noise=self._noise, precision=precision)
            if plane is None:
                continue
            known, strength = self._units.index_of(plane), float(kink.jump.norm())
            if known is None:
                self._units, self._strengths = self._units.with_unit(plane), [*self._strengths, strength]
                if len(self._units) * (self._columns + 1) > MOST_UNKNOWNS:
                    raise _NotEnough
            elif strength > self._strengths[known]:
                self._units, self._strengths[known] = self._units.replaced(known, plane), strength

    def _unexplained(self, points: Tensor) -> Observed:
        """Return the log-ratios at points, less what is explained of them."""
        seen = self._ask(points)
        return seen if self._explained is None else self._explained.left_of(seen)

    def _find_what_is_missing(self) -> None:
        """Follow lines to the rows that the units found so far explain worst, until all are explained."""
        for _ in range(COMPLETIONS):
            seen, before = self._all_rows(), len(self._units)
            self._explained = fit = self._trimmed(seen)
            errors = fit.errors(seen)
            worst = errors.topk(min(LINES_EACH, len(errors))).indices
            worst = worst[errors[worst] > max(MISSING[0] * self._noise, MISSING[1] * float(errors.median()))]
            well = (errors <= errors.median()).nonzero().flatten()
            for row in worst:
                start = well[torch.randint(len(well), (1,), generator=self._rng)][0]
                self._follow(through(seen.points[start], seen.points[row]), precision=COARSE_PRECISION)
            if len(self._units) == before:
                break
        self._explained = None

    def _trimmed(self, seen: Observed) -> Fit:
        """Return a polished fit to the rows that the units found so far explain."""
        errors = fitted(self._units, seen).errors(seen)
        kept = errors <= max(OUTLYING[0] * self._noise, OUTLYING[1] * float(errors.median()))
        return polished(self._units, seen.at(kept), iterations=self._attack.iterations)

    def _final_rows(self) -> int:
        """Return how many rows to query before the last polish: none again, and none that a check needs."""
        wanted = max(FINAL_ROWS, 2 * (len(self._units) + self._columns)) if not self._judged else 0
        return max(0, min(wanted, self.transfer_set.remaining - self._attack.n_check))

    def _ask(self, points: Tensor, *, into: TransferSet | None = None) -> Observed:
        """Query points (N, d), and return the log-ratios at the points rounded to float32."""
        if len(points) > self.transfer_set.remaining or self._context.time_left() <= 0:
            raise _NotEnough
        inputs = self._shaped(points)
        return _observed(inputs, (self.transfer_set if into is None else into).extend(inputs))

    def _all_rows(self) -> Observed:
        """Return everything that was answered, on the lines and in earlier checks."""
        sets = [_observed(*rows.answered()) for rows in (self.transfer_set, *self._judged)]
        return Observed(
            points=torch.cat([rows.points for rows in sets]), values=torch.cat([rows.values for rows in sets])
        )

    def _shaped(self, points: Tensor) -> Tensor:
        return points.float().clamp(0, 1).reshape(-1, *self._shape)

    def _uniform(self, rows: int) -> Tensor:
        return torch.rand(rows, self._columns, generator=self._rng, dtype=torch.float64)

    def _pool_rows(self, rows: int) -> Tensor:
        taken, self._pool = self._pool[:rows], self._pool[rows:]
        return taken.flatten(1).double()

    def _mixed(self, rows: int) -> Tensor:
        """Return points (N, d), half of them from the pool as long as it lasts."""
        from_pool = self._pool_rows(rows // 2)
        return torch.cat([from_pool, self._uniform(rows - len(from_pool))])


def _observed(inputs: Tensor, released: Tensor) -> Observed:
    """Return inputs (N, d) and the logarithms of released rows (N, K) less their mean over the classes."""
    logarithms = released.double().log()
    return Observed(points=inputs.flatten(1).double(), values=logarithms - logarithms.mean(dim=1, keepdim=True))
