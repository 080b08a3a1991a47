"""Find the cheapest row of the simplex within an L1 distance, exactly, in batches and without an LP solver.

The problem is to minimise <g, x> over x >= 0 with sum 1 and |x - y|_1 <= epsilon. At most epsilon / 2 of mass moves,
from the most expensive classes to the cheapest. If the argmax must be kept by a margin, x_c >= x_j + margin, then the
value of the best row with x_c = t is convex and piecewise linear in t. For a fixed t, it is again a transfer problem,
in which every other class has the cap t - margin. The best t lies where two tangents of the value meet, and each step
of the search finds another linear piece.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_MOST_STEPS = 64  # pieces that a search examines; a dozen are enough for a thousand classes
_TOLERANCE = 1e-14  # of a value: the rounding error of float64 for costs near 1
_NOTHING = 1e-12  # of mass: the rounding error of float64 for sums over a thousand classes


def cheapest_rows(costs: Tensor, rows: Tensor, *, epsilon: float) -> Tensor:
    """Return the cheapest rows (N, K) float64 within ``epsilon`` of ``rows`` for ``costs``, both (N, K).

    Mass moves from the most expensive classes, in falling order, to the cheapest one, the lowest index if several are
    equal; it never moves between classes of equal cost.
    """
    g, y = costs.double(), rows.double()
    cheapest = g.argmin(dim=1, keepdim=True)
    order = g.argsort(dim=1, descending=True, stable=True)
    stock = (y * (g > g.gather(1, cheapest))).gather(1, order)
    before = stock.cumsum(dim=1) - stock
    given = torch.minimum((epsilon / 2 - before).clamp(min=0), stock)
    x = y - torch.zeros_like(y).scatter(1, order, given)
    return x.scatter_add(1, cheapest, given.sum(dim=1, keepdim=True))


def cheapest_rows_keeping_argmax(costs: Tensor, rows: Tensor, *, epsilon: float, margin: float) -> Tensor:
    """Return the cheapest rows (N, K) float64 within ``epsilon`` that keep the argmax c of ``rows`` by ``margin``.

    If there is no such row, because ``epsilon`` is too small to break a tie, or if none is cheaper, the row is
    unchanged.
    """
    g, y = costs.double(), rows.double()
    transfer = _Transfer(g, y, budget=epsilon / 2, margin=margin)
    low, high = transfer.least, torch.maximum(transfer.least, transfer.most)
    left, right = transfer.tangent(low), transfer.tangent(high)
    best = torch.where(left.slope >= 0, low, high)
    done = (left.slope >= 0) | (right.slope <= 0)
    for _ in range(_MOST_STEPS):
        if bool(done.all()):
            break
        turn = torch.where(done, 1.0, left.slope - right.slope)
        meet = (right.value - left.value + left.slope * low - right.slope * high) / turn
        best = torch.where(done, best, meet.clamp(low, high))
        bound = left.value + left.slope * (best - low)  # nothing is cheaper than where two tangents meet
        middle = transfer.tangent(best)
        done = done | (middle.value - bound <= _TOLERANCE * (1 + bound.abs())) | (best <= low) | (best >= high)
        falls, rises = ~done & (middle.slope < 0), ~done & (middle.slope >= 0)
        low, left = torch.where(falls, best, low), _chosen(falls, middle, left)
        high, right = torch.where(rises, best, high), _chosen(rises, middle, right)
    x = transfer.rows(best)
    cheaper = (g * (y - x)).sum(dim=1, keepdim=True) > _TOLERANCE * g.abs().amax(dim=1, keepdim=True)
    return torch.where((transfer.least <= transfer.most) & (cheaper | ~transfer.leads), x, y)


class _Tangent(NamedTuple):
    """The value of the cheapest rows with x_c = t, and its slope in t, both (N, 1)."""

    value: Tensor
    slope: Tensor


def _chosen(where: Tensor, one: _Tangent, other: _Tangent) -> _Tangent:
    return _Tangent(torch.where(where, one.value, other.value), torch.where(where, one.slope, other.slope))


class _Moves(NamedTuple):
    """The mass (N, K) that each class could gain and gains, could give up and gives up, beyond the forced moves."""

    room: Tensor
    got: Tensor
    stock: Tensor
    given: Tensor


class _Transfer:
    """The problem with x_c = t (N, 1) fixed; internally, columns are sorted by cost.

    The mass that moves is at most ``budget``, half of the L1 distance. Some moves are forced: the other classes come
    down to the cap t - margin, and c goes to t. The rest moves from expensive classes to cheap ones as long as that
    pays.
    """

    def __init__(self, g: Tensor, y: Tensor, *, budget: float, margin: float) -> None:
        classes = y.shape[1]
        best = y.argmax(dim=1, keepdim=True)
        self._order = g.argsort(dim=1, stable=True)
        self._other = self._order != best
        self._g, self._y = g.gather(1, self._order), y.gather(1, self._order)
        self._g_best, self._y_best = g.gather(1, best), y.gather(1, best)
        self._costs_more = torch.cat([self._other.new_ones(len(y), 1), self._g[:, 1:] > self._g[:, :-1]], dim=1)
        self._budget, self._margin = budget, margin
        self.leads = self._y_best - y.scatter(1, best, -torch.inf).amax(dim=1, keepdim=True) >= margin
        # The mass that must come down to t, the sum of (z - t)+, is within the budget if t is at least every quotient.
        z = (y + margin).scatter(1, best, self._y_best).sort(dim=1, descending=True).values
        quotients = (z.cumsum(dim=1) - budget) / torch.arange(1, classes + 1)
        self.least = quotients.amax(dim=1, keepdim=True).clamp(min=(1 + margin * (classes - 1)) / classes)
        self.most = (self._y_best + budget).clamp(max=1)

    def rows(self, t: Tensor) -> Tensor:
        """Return the cheapest rows (N, K)."""
        x = self._filled(t, self._moves(t))
        return torch.zeros_like(x).scatter(1, self._order, x)

    def tangent(self, t: Tensor) -> _Tangent:
        """Return the value of the cheapest rows, which is convex in t, and a subgradient of it."""
        moves = self._moves(t)
        buyer, seller = self._prices(moves)
        slope = self._g_best - torch.where(t > self._y_best, buyer, seller)
        gains = (self._g - torch.where(self._y > t - self._margin, seller, buyer)).clamp(max=0) * self._other
        value = (self._g * self._filled(t, moves)).sum(dim=1, keepdim=True)
        return _Tangent(value, slope + gains.sum(dim=1, keepdim=True))

    def _filled(self, t: Tensor, moves: _Moves) -> Tensor:
        return (torch.minimum(self._y, t - self._margin) + moves.got - moves.given).where(self._other, t)

    def _moves(self, t: Tensor) -> _Moves:
        y, cap = self._y, t - self._margin
        room, stock = (cap - y).clamp(min=0) * self._other, torch.minimum(y, cap) * self._other
        over = (y - cap).clamp(min=0) * self._other
        forced_in, forced_out = (t - self._y_best).clamp(min=0), (self._y_best - t).clamp(min=0)
        forced_out = forced_out + over.sum(dim=1, keepdim=True)
        taken = forced_in + room.cumsum(dim=1) - room  # once all classes before this one are full
        given = forced_out + stock.flip(1).cumsum(dim=1).flip(1)  # once this one and those after it are empty
        pays = torch.minimum(taken, given).where(self._costs_more, 0.0).amax(dim=1, keepdim=True)
        moved = torch.maximum(pays, torch.maximum(forced_in, forced_out)).clamp(max=self._budget)
        return _Moves(
            room=room,
            got=torch.minimum((moved - taken).clamp(min=0), room),
            stock=stock,
            given=torch.minimum((moved - given + stock).clamp(min=0), stock),
        )

    def _prices(self, moves: _Moves) -> tuple[Tensor, Tensor]:
        """Return the prices of a further unit of mass where it arrives and where it leaves, (N, 1) each.

        They are the multipliers of the problem: different while the budget is tight, equal once no further move pays.
        """
        low, high = self._g[:, :1], self._g[:, -1:]
        buyer = self._g.where(moves.room - moves.got > _NOTHING, high).amin(dim=1, keepdim=True)
        seller = self._g.where(moves.stock - moves.given > _NOTHING, low).amax(dim=1, keepdim=True)
        level = torch.maximum(seller, self._g.where(moves.got > _NOTHING, low).amax(dim=1, keepdim=True))
        paid_off = buyer >= seller
        return torch.where(paid_off, level, buyer), torch.where(paid_off, level, seller)
