"""Trains a victim by the recipe of all victims; its code is a part of their keys in caches."""

from __future__ import annotations

import torch
from torch import Generator, nn

from arena.learning.architectures import Classifier
from arena.learning.normalisation import Normalised
from arena.learning.tensors import save_state
from arena.learning.training import fit, one_hot, one_thread

PASSES = 5  # over the training rows, within the bounds below
MIN_STEPS, MAX_STEPS = 1_000, 20_000


def normalised(network: Classifier, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
    """Return a network that normalises its inputs first, or the network itself if there is no mean."""
    return Normalised(network, mean, std, dimensions=len(network.task.shape)) if mean else network


def train_victim(
    network: Classifier,
    module: nn.Module,
    labelled: tuple[torch.Tensor, torch.Tensor],
    *,
    steps: int | None,
    lr: float,
    rng: Generator,
    device: str,
) -> bytes:
    """Train ``module``, which is ``network`` or normalises its inputs, and return the state of the network.

    ``labelled`` are inputs (N, *shape) and labels (N,) int64. ``steps`` None stands for five passes, within bounds.
    """
    inputs, labels = labelled
    with one_thread():
        fit(
            module.to(device),
            inputs,
            one_hot(labels, network.task.classes),
            steps=steps or min(max(MIN_STEPS, PASSES * len(inputs) // 64), MAX_STEPS),
            lr=lr,
            rng=rng,
        )
    return save_state(network.state_dict())
