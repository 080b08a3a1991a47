"""Generators of queries for attacks without a pool: networks from random numbers to inputs of a task."""

from __future__ import annotations

import math

from torch import Tensor, nn

from arena.contracts import Task

CHANNELS = 64


def pixels(samples: Tensor) -> Tensor:
    """Apply the output activation: return inputs in [0, 1]."""
    return (samples.tanh() + 1) / 2


def generator(task: Task, latent: int) -> nn.Module:
    """Return a network from (N, latent) to normalised samples (N, *shape), before the output activation."""
    if len(task.shape) == 1:
        columns = task.shape[0]
        return nn.Sequential(
            nn.Linear(latent, CHANNELS),
            nn.BatchNorm1d(CHANNELS),
            nn.LeakyReLU(0.2),
            nn.Linear(CHANNELS, columns),
            nn.BatchNorm1d(columns, affine=False),
        )
    channels, height, width = task.shape
    half, quarter = ((math.ceil(height / part), math.ceil(width / part)) for part in (2, 4))
    return nn.Sequential(
        nn.Linear(latent, CHANNELS * math.prod(quarter)),
        nn.Unflatten(1, (CHANNELS, *quarter)),
        nn.BatchNorm2d(CHANNELS),
        nn.Upsample(half),
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        nn.BatchNorm2d(CHANNELS),
        nn.LeakyReLU(0.2),
        nn.Upsample((height, width)),
        nn.Conv2d(CHANNELS, channels, 3, padding=1),
        nn.BatchNorm2d(channels, affine=False),
    )
