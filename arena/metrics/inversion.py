"""Whether a reconstructed image shows its class; the victim's label alone proves nothing, as noise can get it too."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def class_means(inputs: Tensor, labels: Tensor, *, classes: int) -> Tensor:
    """Return the mean input of each class as (K, *shape); a class without rows gets the mean of all rows."""
    flat = inputs.flatten(1).double()
    sums = torch.zeros(classes, flat.shape[1], dtype=torch.float64).index_add_(0, labels, flat)
    rows = torch.bincount(labels, minlength=classes).unsqueeze(1)
    means = torch.where(rows > 0, sums / rows.clamp(min=1), flat.mean(dim=0, keepdim=True))
    return means.float().reshape(classes, *inputs.shape[1:])


def mean_distances(images: Tensor, means: Tensor) -> Tensor:
    """Return the root mean square distances (N, K) between images (N, *shape) and class means (K, *shape)."""
    distances: Tensor = torch.cdist(images.flatten(1).double(), means.flatten(1).double())
    return distances / math.sqrt(means[0].numel())
