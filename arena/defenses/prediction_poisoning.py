"""Release the row, within a distance, whose training gradient points farthest from the honest one (MAD).

Source: Orekondy, Schiele, Fritz, "Prediction Poisoning: Towards Defenses Against DNN Model Stealing Attacks", ICLR
2020, arXiv 1906.10908; MAD (``mad``) and MAD-argmax (``mad-argmax``).
For the last linear layer, the gradient of a soft cross entropy is (p - y) outer h, so the angle between two gradients
is the angle between y - p and y' - p. That takes K numbers for each row, and no features.
Only the gradient of the last layer is considered, as in the authors' code (tribhuvanesh/prediction-poisoning).
``search = "paper"`` searches as that code does: it chooses a vertex before shrinking it into the ball, and above 10
classes it grows one set of classes from the predicted one, adds the best class in every round, and takes the best set
of all rounds.
Departures: ``"scaled"``, the default, chooses the vertex after shrinking it, which is never worse, and at small
distances gives several times the angle; above 10 classes it also tries prefixes of six orders. The objective is always
the angle; up to 10 classes the authors' code takes the distance between the gradients unless it is told
``objmax``. With fewer than 46 classes the authors' search fails once every class is in the set, and ours ends there.
Published number: none on equal terms. Reproduced: formula; direction (a larger angle than the paper's on every row).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache, partial
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from arena.contracts import (
    BadParameter,
    DefenseContext,
    Need,
    Promise,
    QueryBatch,
    Responder,
    State,
)
from arena.defenses.parts.defender_networks import surrogate_of
from arena.learning.composition import ComposableDefense, transformed
from arena.learning.release import DIAMETER, keep_argmax
from arena.learning.training import predict

Norm = Literal["l1", "l2"]
Search = Literal["paper", "scaled"]

LEAD = 1e-5  # what the paper's code adds to the predicted class of a vertex
NEAREST = 1e-6  # a candidate this near to p has no direction, and few digits in an expanded square
SCORE_DECIMALS = 10  # scores that agree to so many decimals tie: the last bits depend on the rest of the batch
EXHAUSTIVE_CLASSES = 10  # up to this many classes, all 2^(K - 1) sets are tried
GREEDY_EVALUATIONS = 1_024  # for more classes: a row's last round is the one in which it reaches this number
NO_DIRECTION = 2.0  # the score of a set without a direction, which is worse than any cosine
_ELEMENTS = 2**22  # numbers that the candidates of a chunk of rows hold in memory


@dataclass(frozen=True, kw_only=True)
class PredictionPoisoning(ComposableDefense):
    """``epsilon`` bounds the distance in ``norm``; ``argmax`` keeps the predicted class."""

    needs: ClassVar[frozenset[Need]] = frozenset({"surrogate"})
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("epsilon", (0.0, 0.1, 0.2, 0.5, 1.0, 1.5))

    epsilon: float = 0.5
    norm: Norm = "l1"
    argmax: bool = False
    search: Search = "scaled"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.epsilon <= DIAMETER:
            message = f"epsilon = {self.epsilon} must lie in [0, {DIAMETER:g}]: no two rows are farther apart"
            raise BadParameter(message)

    @property
    def own_promise(self) -> Promise:
        return Promise(argmax=self.argmax, l1=self.epsilon if self.norm == "l1" else None)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        surrogate = surrogate_of(context, "prediction poisoning")

        def poison(clean: Tensor, queries: QueryBatch) -> Tensor:
            rows = poisoned(
                clean,
                predict(surrogate, queries.inputs),
                epsilon=self.epsilon,
                norm=self.norm,
                argmax=self.argmax,
                search=self.search,
            )
            return keep_argmax(rows, clean) if self.argmax else rows

        return transformed(self.below(context, state, rng=rng), poison)


def poisoned(
    posteriors: Tensor, guesses: Tensor, *, epsilon: float, norm: Norm = "l1", argmax: bool, search: Search = "scaled"
) -> Tensor:
    """Return the rows (N, K) float64 to release, given the posteriors y and the surrogate's p, both (N, K)."""
    y, p = posteriors.double(), guesses.double()
    classes = y.shape[1]
    farthest = partial(_farthest, epsilon=epsilon, norm=norm, search=search)
    if not argmax:
        return farthest(y, p, torch.eye(classes, dtype=y.dtype))
    swap = _predicted_first(y)
    y, p = y.gather(1, swap), p.gather(1, swap)
    if classes <= EXHAUSTIVE_CLASSES:
        rows = farthest(y, p, _every_vertex(classes))
    else:
        size = max(1, _ELEMENTS // (6 * classes * classes))
        chunks = zip(y.split(size), p.split(size), strict=True)
        rows = torch.cat([farthest(*chunk, _some_vertices(*chunk, search=search)) for chunk in chunks])
    return rows.gather(1, swap)  # a swap undoes itself


def angles(released_rows: Tensor, posteriors: Tensor, guesses: Tensor) -> Tensor:
    """Return the angle (N,) in degrees between the gradients of released and clean rows; 0 if either gradient is 0."""
    u, v = posteriors.double() - guesses.double(), released_rows.double() - guesses.double()
    length = u.norm(dim=1) * v.norm(dim=1)
    cosine = (u * v).sum(dim=1) / length.clamp(min=NEAREST**2)
    return torch.where(length > NEAREST**2, cosine.clamp(-1, 1).acos() * 180 / math.pi, 0.0)


def _farthest(y: Tensor, p: Tensor, vertices: Tensor, *, epsilon: float, norm: Norm, search: Search) -> Tensor:
    """Return (1 - a) y + a V for the vertex V with the smallest cosine; vertices (M, K), or (N, M, K) for each row."""
    reach = _distances(y, vertices, norm)
    shrunk = (epsilon / reach.clamp(min=NEAREST)).clamp(max=1)
    scores = _cosines(y, p, vertices, shrunk if search == "scaled" else torch.ones_like(shrunk))
    best = scores.argmin(dim=1, keepdim=True)
    rows = torch.arange(len(y))
    vertex = vertices[best.squeeze(1)] if vertices.dim() == 2 else vertices[rows, best.squeeze(1)]
    weight = (
        shrunk.gather(1, best) * scores.gather(1, best).isfinite()
    )  # if no candidate has a direction, the clean row
    return y + weight * (vertex - y)


def _cosines(y: Tensor, p: Tensor, vertices: Tensor, weight: Tensor) -> Tensor:
    """Return <u, v> / (|u| |v|) as (N, M) for u = y - p and v = (1 - a) y + a V - p; inf if either is nearly 0.

    The square of v is expanded, so that shared vertices need no memory of size (N, M, K).
    """
    u = y - p
    keep = 1 - weight
    yy, pp, yp, uy, up, uu = (_row_dot(*pair) for pair in ((y, y), (p, p), (y, p), (u, y), (u, p), (u, u)))
    vy, vp = _dots(y, vertices), _dots(p, vertices)
    vv = vertices.square().sum(dim=-1)
    along = keep * uy + weight * (vy - vp) - up
    square = keep**2 * yy + weight**2 * vv + pp + 2 * keep * weight * vy - 2 * keep * yp - 2 * weight * vp
    length = square.clamp(min=0).sqrt() * uu.sqrt()
    cosines = torch.where(length > NEAREST * uu.sqrt(), along / length, torch.inf)
    return torch.where(uu > NEAREST**2, cosines, torch.inf).round(decimals=SCORE_DECIMALS)


def _row_dot(left: Tensor, right: Tensor) -> Tensor:
    return (left * right).sum(dim=1, keepdim=True)


def _dots(rows: Tensor, vertices: Tensor) -> Tensor:
    return rows @ vertices.T if vertices.dim() == 2 else (vertices @ rows.unsqueeze(2)).squeeze(2)


def _distances(rows: Tensor, vertices: Tensor, norm: Norm) -> Tensor:
    order = 1.0 if norm == "l1" else 2.0
    if vertices.dim() == 2:
        return torch.cdist(rows, vertices, p=order)
    return torch.cdist(rows.unsqueeze(1), vertices, p=order).squeeze(1)


def _predicted_first(y: Tensor) -> Tensor:
    """Return column indices (N, K) that swap the predicted class with class 0."""
    best = y.argmax(dim=1, keepdim=True)
    columns = torch.arange(y.shape[1]).expand_as(y)
    return columns.scatter(1, best, 0).scatter(1, torch.zeros_like(best), best)


@cache
def _every_vertex(classes: int) -> Tensor:
    """Return the vertices (M, K) of all M = 2^(K - 1) sets that contain class 0."""
    return _vertices(torch.tensor(list(itertools.product((False, True), repeat=classes - 1)), dtype=torch.bool))


def _some_vertices(y: Tensor, p: Tensor, *, search: Search) -> Tensor:
    """Return the paper's greedy vertex (N, 1, K), and for ``scaled`` also prefixes of six orders (N, 1 + 6 K, K)."""
    greedy = _greedy(y, p).unsqueeze(1)
    return greedy if search == "paper" else torch.cat([greedy, _vertices(_prefixes(y, p))], dim=1)


def _prefixes(y: Tensor, p: Tensor) -> Tensor:
    """Return sets of other classes (N, 6 K, K - 1): every prefix in the orders of +-p, +-y and +-(y - p).

    Among sets of equal size, only the sums of y and of p matter, and the best sums are those of prefixes in some order
    a y + b p. Six such orders come within a percent of trying all sets.
    """
    others = torch.stack([p, -p, y, -y, y - p, p - y], dim=1)[:, :, 1:]
    rank = others.argsort(dim=2, stable=True).argsort(dim=2)
    sizes = torch.arange(y.shape[1]).reshape(1, 1, -1, 1)
    return (rank.unsqueeze(2) < sizes).flatten(1, 2)


def _greedy(y: Tensor, p: Tensor) -> Tensor:
    """Return the vertex (N, K) of the best set of all rounds; each round adds the class that is best to add.

    The rounds end after `GREEDY_EVALUATIONS`, or when every class has been added.
    """
    rows, others = len(y), y.shape[1] - 1
    members = torch.zeros(rows, others, dtype=torch.bool)
    found, score, evaluations = members, torch.full((rows, 1), torch.inf, dtype=y.dtype), 0
    for left in range(others, 0, -1):
        larger = members.unsqueeze(1) | torch.eye(others, dtype=torch.bool)
        scores = _cosines(y, p, _vertices(larger), torch.ones(rows, others, dtype=y.dtype))
        scores = scores.where(scores.isfinite(), NO_DIRECTION).masked_fill(members, torch.inf)
        best, added = scores.min(dim=1, keepdim=True)
        members = members | torch.zeros_like(members).scatter(1, added, True)
        found, score = torch.where(best < score, members, found), torch.minimum(score, best)
        evaluations += left
        if evaluations >= GREEDY_EVALUATIONS:
            break
    return _vertices(found)


def _vertices(others: Tensor) -> Tensor:
    """Return the normalised rows (..., K) of sets, given their other classes (..., K - 1); class 0 leads by `LEAD`."""
    first = torch.full((*others.shape[:-1], 1), 1 + LEAD, dtype=torch.float64)
    rows = torch.cat([first, others.double()], dim=-1)
    return rows / rows.sum(dim=-1, keepdim=True)
