"""Groups of rows without labels: principal components, and k-means."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

PASSES = 25  # of k-means; the groups of a pool settle before
_EXTRA_COLUMNS = 10  # of the sketch, and
_POWERS = 2  # passes over the rows: enough for components that differ from the exact ones in the noise alone


def principal_components(rows: Tensor, columns: int, *, rng: Generator) -> Tensor:
    """Return directions (d, k) float32 along which rows (N, d) vary most, k = min(columns, N, d), orthonormal.

    Source: the randomised range finder of Halko, Martinsson, Tropp, SIAM Review 53(2), 2011, algorithms 4.4 and 5.1:
    a few products with the rows, whatever d is.
    """
    centred = rows - rows.mean(dim=0)
    width = min(columns + _EXTRA_COLUMNS, *rows.shape)
    basis = torch.randn(rows.shape[1], width, generator=rng)
    for _ in range(_POWERS):
        basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
    directions = torch.linalg.svd(centred @ basis, full_matrices=False).Vh.T
    components: Tensor = basis @ directions[:, :columns]
    return components


def k_means(points: Tensor, groups: int, *, rng: Generator) -> Tensor:
    """Return centres (k, d) of points (N, d), N >= 1; k <= groups, as each is the nearest of some point.

    Source: Lloyd's passes from the seeding of Arthur, Vassilvitskii, "k-means++", SODA 2007. Written out, since a
    library's threads add in any order and the same seed must give the same groups.
    """
    centres = points[torch.randint(len(points), (1,), generator=rng)]
    while len(centres) < groups:
        squares = distances(points, centres).amin(dim=1).square()
        if not bool((squares > 0).any()):
            break  # every point is a centre already
        centres = torch.cat([centres, points[torch.multinomial(squares, 1, generator=rng)]])
    for _ in range(PASSES):
        members = nearest_centre(points, centres)
        sizes = members.bincount(minlength=len(centres)).unsqueeze(1)
        moved = torch.where(sizes > 0, torch.zeros_like(centres).index_add(0, members, points) / sizes, centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres[nearest_centre(points, centres).unique()]


def nearest_centre(points: Tensor, centres: Tensor) -> Tensor:
    """Return for each point (N, d) the index (N,) of its nearest centre (k, d), ties to the lowest."""
    return distances(points, centres).argmin(dim=1)


def distances(points: Tensor, centres: Tensor) -> Tensor:
    """Return Euclidean distances (N, k), by differences: a product of matrices leaves a point away from itself."""
    return torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")
