"""Two-sample tests: are two sets of rows of one distribution, do they share a part, does one copy the other?

Each has a known error rate: a permutation test is exact for exchangeable rows, and its power is simulated for the
numbers of rows at hand.
"""

from __future__ import annotations

import itertools

import torch
from scipy import stats
from torch import Generator, Tensor

PERMUTATIONS = 299
LEVEL = 0.05
SIMULATIONS, SIMULATED_PERMUTATIONS = 40, 59
MAX_SIMULATED_ROWS = 60  # of each set: more rows have no less power
REFERENCE_SHIFT = 1.0  # deviations along the first principal component: the difference whose detection power is stated
NEIGHBOURS = 10
KEPT_OF_POOL = 0.95  # of the pool's own rows: the others are its edge
NEAR = 0.5  # of the distance to the tenth-nearest row: no copy is farther than this
COPY_SHARE = 0.01  # of the pool's own rows that stand as near to another one as a near copy
SHIFTS = tuple(itertools.product((-1, 0, 1), repeat=2))  # pixels by which a near copy of an image may be moved


def permutation_p(first: Tensor, second: Tensor, *, rng: Generator, permutations: int = PERMUTATIONS) -> float:
    """Return the p of the hypothesis that features (N, F) and (M, F) come from one distribution.

    The statistic is the maximum mean discrepancy with a Gaussian kernel of median width on standardised features
    (Gretton et al., "A Kernel Two-Sample Test", JMLR 2012). Its distribution is that over random divisions of all rows
    into sets of these sizes: if the hypothesis holds, p <= a has a probability of at most a.
    """
    kernel = _gaussian_kernel(_standardised(torch.cat([first, second])))
    sizes = len(first), len(second)
    signs = torch.cat([torch.full((size,), sign / size) for size, sign in zip(sizes, (1, -1), strict=True)]).double()
    orders = torch.rand(permutations, len(kernel), generator=rng).argsort(dim=1)
    divisions = torch.cat([signs.unsqueeze(0), signs[orders]])
    discrepancies = ((divisions @ kernel) * divisions).sum(dim=1)
    return float((discrepancies >= discrepancies[0] - torch.finfo(torch.float32).eps).double().mean())


def power(rows: Tensor, *, first: int, second: int, rng: Generator) -> float:
    """Return how often `permutation_p` notices, at `LEVEL`, that one of two sets of these sizes is shifted.

    Both are drawn with replacement from ``rows`` (N, F), and one is shifted by `REFERENCE_SHIFT` standard deviations
    along the first principal component. Above `MAX_SIMULATED_ROWS` this is a lower bound.
    """
    standard = _standardised(rows)
    _, spreads, directions = torch.linalg.svd(standard, full_matrices=False)
    shift = REFERENCE_SHIFT * directions[0] * spreads[0] / max(len(standard) - 1, 1) ** 0.5
    sizes = [min(size, MAX_SIMULATED_ROWS) for size in (first, second)]
    noticed = 0
    for _ in range(SIMULATIONS):
        one, other = (standard[torch.randint(len(standard), (size,), generator=rng)] for size in sizes)
        noticed += permutation_p(one + shift, other, rng=rng, permutations=SIMULATED_PERMUTATIONS) <= LEVEL
    return noticed / SIMULATIONS


def typical(pool: Tensor) -> Tensor:
    """Return which rows of a pool (M, F) are not at its edge, as (M,) bool: `KEPT_OF_POOL` of them.

    What counts is the distance to the tenth-nearest other row.
    """
    distance = _to_tenth(_among(_scaled(pool, pool)))
    return distance <= torch.quantile(distance, KEPT_OF_POOL)


def shared_part(rows: Tensor, pool: Tensor) -> Tensor:
    """Return which of ``rows`` (N, F) lie where the pool (M, F) does, as (N,) bool.

    Those are as near to the pool as its `typical` rows are to one another, and where the pool is denser than ``rows``
    (the larger set is cut to the size of the smaller). Of another distribution few rows are; of a mixture, the part
    that is the pool's.
    """
    rows, pool = _scaled(rows, pool), _scaled(pool, pool)
    size = min(len(rows), len(pool))
    border = torch.quantile(_to_tenth(_among(pool)), KEPT_OF_POOL)
    inside = _to_tenth(torch.cdist(rows, pool)) <= border
    denser = _to_tenth(torch.cdist(rows, pool[:size])) <= _to_tenth(_among(rows)[:, :size])
    return inside & denser


def near_copies(rows: Tensor, pool: Tensor) -> Tensor:
    """Return which of ``rows`` (N, *shape) are near copies of a row of the pool (M, *shape), as (N,) bool.

    A near copy is at most half as far from one row of the pool as from its tenth-nearest, and a smaller share so than
    for all but `COPY_SHARE` of the pool's own rows. Images may be moved by a pixel.
    """
    own = _isolation(_moved_distances(pool, pool).fill_diagonal_(torch.inf))
    border = torch.quantile(own, COPY_SHARE).clamp(max=NEAR)
    return _isolation(_moved_distances(rows, pool)) < border


def copies_p(copies: int, rows: int) -> float:
    """Return an upper bound of the p of so many near copies among rows that stand to the pool as its own rows do."""
    return float(stats.binom.sf(copies - 1, rows, COPY_SHARE))


def _isolation(distances: Tensor) -> Tensor:
    """Return, of distances (N, M), each row's least one over its tenth-least one."""
    return distances.amin(dim=1) / _to_tenth(distances).clamp(min=torch.finfo(distances.dtype).tiny)


def _to_tenth(distances: Tensor) -> Tensor:
    """Return each row's tenth-least distance of (N, M), or of fewer columns the greatest finite one."""
    return distances.kthvalue(min(NEIGHBOURS, distances.shape[1] - 1), dim=1).values


def _among(rows: Tensor) -> Tensor:
    """Return the distances (N, N) among rows; none is near to itself."""
    return torch.cdist(rows, rows).fill_diagonal_(torch.inf)


def _moved_distances(rows: Tensor, pool: Tensor) -> Tensor:
    """Return distances (N, M) of rows to those of the pool, each image moved by whichever pixel brings it nearest."""
    if rows.dim() != 4 or min(rows.shape[-2:]) <= 2:
        return torch.cdist(rows.flatten(1), pool.flatten(1))
    height, width = rows.shape[-2:]
    inner = rows[..., 1:-1, 1:-1].flatten(1)
    nearest = torch.full((len(rows), len(pool)), torch.inf)
    for down, right in SHIFTS:
        moved = pool[..., 1 + down : height - 1 + down, 1 + right : width - 1 + right].flatten(1)
        nearest = torch.minimum(nearest, torch.cdist(inner, moved))
    return nearest


def _scaled(rows: Tensor, pool: Tensor) -> Tensor:
    scale = pool.double().std(dim=0)
    return rows.double() / torch.where(scale > 0, scale, 1.0)


def _standardised(rows: Tensor) -> Tensor:
    rows = rows.double()
    deviations = rows.std(dim=0)
    return (rows - rows.mean(dim=0)) / torch.where(deviations > 0, deviations, 1.0)


def _gaussian_kernel(rows: Tensor) -> Tensor:
    squares = torch.cdist(rows, rows).square()
    apart = squares[squares > 0]
    return torch.exp(-squares / apart.median()) if len(apart) else torch.ones_like(squares)
