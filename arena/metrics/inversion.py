"""Whether a reconstructed image shows its class; the victim's label alone proves nothing, as noise can get it too."""

from __future__ import annotations

import torch
from torch import Tensor


def class_means(inputs: Tensor, labels: Tensor, *, classes: int) -> Tensor:
    """Return the mean input of each class as (K, *shape); a class without rows gets the mean of all rows."""
    flat = inputs.flatten(1).double()
    sums = torch.zeros(classes, flat.shape[1], dtype=torch.float64).index_add_(0, labels, flat)
    rows = torch.bincount(labels, minlength=classes).unsqueeze(1)
    means = torch.where(rows > 0, sums / rows.clamp(min=1), flat.mean(dim=0, keepdim=True))
    return means.float().reshape(classes, *inputs.shape[1:])


def mean_correlations(images: Tensor, means: Tensor) -> Tensor:
    """Return the correlations (N, K), float64 in [-1, 1], of images (N, *shape) with class means (K, *shape).

    A correlation over pixels compares shapes: brightness and contrast, which a reconstruction leaves open, do not count,
    while a distance would find every faint image nearest to the darkest mean. That of a constant image is 0.
    """
    return _standardised(images) @ _standardised(means).T


def _standardised(images: Tensor) -> Tensor:
    """Return images as rows (N, d) of mean 0 and length 1; constant ones are all zeros."""
    flat = images.flatten(1).double()
    centred = flat - flat.mean(dim=1, keepdim=True)
    varied = flat.amax(dim=1, keepdim=True) > flat.amin(dim=1, keepdim=True)  # rounding leaves no exact zero
    return torch.nn.functional.normalize(centred * varied, dim=1)
