"""Functions that are piecewise linear with one kink for each hidden unit: find the kinks, fit the units, build the clone.

The log-ratios of a softmax over one hidden layer of ReLUs are sum_j c_j |n_j x + b_j| + A x + a up to a constant for
each row, because relu(r) = (r + |r|) / 2. Sources: those of `arena.attacks.functional_equivalence`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.kinks import Hyperplane, Line, Observed
from arena.contracts import Task
from arena.learning.architectures import Classifier, build

DAMPING = 1e-9  # of Gauss-Newton, relative: the length of a normal and that of its coefficients are one unknown
SAME_COSINE, SAME_OFFSET = 1e-3, 0.05  # hyperplanes that differ by less are those of one unit
_ROWS_AT_ONCE = 4096  # whose slopes are held at once
ALWAYS_ON = 1.0  # how far above zero a unit of the affine part stays on the box


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """Hyperplanes n_j x + b_j = 0 of h units: ``normals`` (h, d) of length 1 and ``offsets`` (h,), float64."""

    normals: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return len(self.offsets)

    def inputs(self, points: Tensor) -> Tensor:
        """Return n_j x + b_j for points (N, d), as (N, h)."""
        return points @ self.normals.T + self.offsets

    def crossings(self, line: Line) -> Tensor:
        """Return the places (h,) at which the line crosses each hyperplane; they may lie outside [0, 1]."""
        return -self.inputs(line.start.unsqueeze(0))[0] / (self.normals @ line.way)

    def index_of(self, plane: Hyperplane) -> int | None:
        """Return which unit has nearly this hyperplane, whichever way it points, or None."""
        cosines = self.normals @ plane.normal
        alike = (cosines.abs() > 1 - SAME_COSINE) & ((self.offsets - cosines.sign() * plane.offset).abs() < SAME_OFFSET)
        return int(alike.nonzero()[0]) if bool(alike.any()) else None

    def with_unit(self, plane: Hyperplane) -> Units:
        normals = torch.cat([self.normals, plane.normal.unsqueeze(0)])
        return Units(normals=normals, offsets=torch.cat([self.offsets, plane.offset.reshape(1)]))

    def replaced(self, index: int, plane: Hyperplane) -> Units:
        normals, offsets = self.normals.clone(), self.offsets.clone()
        normals[index], offsets[index] = plane.normal, plane.offset
        return Units(normals=normals, offsets=offsets)

    def chosen(self, which: Tensor) -> Units:
        return Units(normals=self.normals[which], offsets=self.offsets[which])


def no_units(columns: int) -> Units:
    return Units(normals=torch.zeros(0, columns, dtype=torch.float64), offsets=torch.zeros(0, dtype=torch.float64))


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """Units with the coefficients (h + d + 1, K) of |n_j x + b_j|, of x, and of 1."""

    units: Units
    coefficients: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """Return the log-ratios (N, K) of points (N, d)."""
        return features(self.units, points) @ self.coefficients

    def errors(self, seen: Observed) -> Tensor:
        """Return the largest |error| over the classes for each of N rows, as (N,)."""
        return (seen.values - self(seen.points)).abs().amax(dim=1)

    def left_of(self, seen: Observed) -> Observed:
        """Return what the fit does not explain of the values."""
        return Observed(points=seen.points, values=seen.values - self(seen.points))

    def without_negligible(self, share: float) -> Fit:
        """Leave out units whose largest coefficient is below ``share`` of the largest of all."""
        sizes = self.coefficients[: len(self.units)].abs().amax(dim=1)
        kept = (sizes >= share * sizes.max()).nonzero().flatten() if len(sizes) else sizes.long()
        rest = torch.arange(len(self.units), len(self.coefficients))
        return Fit(units=self.units.chosen(kept), coefficients=self.coefficients[torch.cat([kept, rest])])


def features(units: Units, points: Tensor) -> Tensor:
    return torch.cat([units.inputs(points).abs(), points, torch.ones_like(points[:, :1])], dim=1)


def fitted(units: Units, seen: Observed) -> Fit:
    """Return the least-squares fit of the coefficients, which needs no sign of any unit."""
    known = features(units, seen.points)
    return Fit(units=units, coefficients=torch.linalg.lstsq(known, seen.values, driver="gelsd").solution)


def polished(units: Units, seen: Observed, *, iterations: int) -> Fit:
    """Improve hyperplanes and coefficients together, by Gauss-Newton steps for as long as they help.

    The coefficients are eliminated (variable projection: Golub, Pereyra, SIAM Journal on Numerical Analysis 10(2),
    1973, in Kaufman's approximation), so that a step solves for h (d + 1) unknowns only.
    """
    best = fitted(units, seen)
    error = _squares(best, seen)
    for _ in range(iterations if len(units) else 0):
        tried = fitted(_stepped(best, seen), seen)
        if not _squares(tried, seen) < error:
            break
        best, error = tried, _squares(tried, seen)
    return best


def _squares(fit: Fit, seen: Observed) -> float:
    return float((seen.values - fit(seen.points)).square().sum())


def _stepped(fit: Fit, seen: Observed) -> Units:
    """Return the units after one Gauss-Newton step.

    The slope of row i with respect to (n_j, b_j) is s_ij = sign(r_ij) (x_i, 1) c_j, less what the coefficients follow.
    Its inner products over rows and classes are products of those over rows and those of the c_j.
    """
    count, columns = len(fit.units), seen.points.shape[1] + 1
    basis = torch.linalg.qr(features(fit.units, seen.points)).Q
    of_units, left_over = fit.coefficients[:count], fit.left_of(seen).values
    inner = seen.points.new_zeros(count * columns, count * columns)
    followed = seen.points.new_zeros(basis.shape[1], count * columns)
    wanted = seen.points.new_zeros(count * columns, left_over.shape[1])
    for points, known, rest in zip(
        *(part.split(_ROWS_AT_ONCE) for part in (seen.points, basis, left_over)), strict=True
    ):
        with_one = torch.cat([points, torch.ones_like(points[:, :1])], dim=1)
        slopes = (fit.units.inputs(points).sign().unsqueeze(2) * with_one.unsqueeze(1)).flatten(1)
        inner.addmm_(slopes.T, slopes)
        followed.addmm_(known.T, slopes)
        wanted.addmm_(slopes.T, rest)  # the rest is orthogonal to what the coefficients follow
    inner.addmm_(followed.T, followed, alpha=-1)
    inner *= (of_units @ of_units.T).repeat_interleave(columns, dim=0).repeat_interleave(columns, dim=1)
    inner.diagonal().add_(DAMPING * inner.diagonal().mean())
    right = (wanted.reshape(count, columns, -1) * of_units.unsqueeze(1)).sum(dim=2).flatten()
    change = torch.linalg.solve(inner, right).reshape(count, columns)
    normals, offsets = fit.units.normals + change[:, :-1], fit.units.offsets + change[:, -1]
    length = normals.norm(dim=1)
    return Units(normals=normals / length.unsqueeze(1), offsets=offsets / length)


def as_clone(fit: Fit, task: Task, *, rng: Generator) -> Classifier:
    """Return the network with h + K hidden units that computes the fit's log-ratios on the box.

    c |r| is 2 c relu(r) - c r, and the affine rest goes through K units that are positive everywhere on the box.
    """
    count, classes = len(fit.units), task.classes
    of_units, slopes, constant = fit.coefficients.split([count, fit.units.normals.shape[1], 1])
    slopes = slopes - fit.units.normals.T @ of_units
    constant = constant[0] - fit.units.offsets @ of_units
    lift = ALWAYS_ON - slopes.clamp(max=0).sum(dim=0)
    network = build(f"mlp-{count + classes}", task, rng=rng)
    first, last = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        first.weight.copy_(torch.cat([fit.units.normals, slopes.T]))
        first.bias.copy_(torch.cat([fit.units.offsets, lift]))
        last.weight.copy_(torch.cat([2 * of_units, torch.eye(classes, dtype=of_units.dtype)]).T)
        last.bias.copy_(constant - lift)
    return network.eval()
