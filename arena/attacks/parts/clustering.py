"""Grouping unlabelled rows: principal components and k-means."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

PASSES = 25  # of k-means; the groups of a pool settle in fewer
_EXTRA_COLUMNS = 10  # of the random sketch; with
_POWERS = 2  # passes over the rows, the components differ from the exact ones only in the noise


def principal_components(rows: Tensor, columns: int, *, rng: Generator) -> Tensor:
    """Return the k = min(columns, N, d) orthonormal directions (d, k) float32 along which rows (N, d) vary most.

    Source: the randomised range finder of Halko, Martinsson, Tropp, SIAM Review 53(2), 2011, algorithms 4.4 and 5.1,
    which takes a few products with the rows, however large d is.
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
    """Return centres (k, d) of points (N, d), N >= 1; k <= groups, because each centre is the nearest of some point.

    Source: Lloyd's algorithm, seeded as in Arthur, Vassilvitskii, "k-means++", SODA 2007. It is implemented here
    because a library's threads add numbers in any order, while the same seed must give the same groups.
    """
    centres = points[torch.randint(len(points), (1,), generator=rng)]
    while len(centres) < groups:
        squares = distances(points, centres).amin(dim=1).square()
        if not bool((squares > 0).any()):
            break  # every point is already a centre
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
    """Return the index (N,) of the centre (k, d) nearest to each point (N, d); ties go to the lowest index."""
    return distances(points, centres).argmin(dim=1)


def distances(points: Tensor, centres: Tensor) -> Tensor:
    """Return the Euclidean distances (N, k) by differences: by matrix products, a point has a distance from itself."""
    return torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")
