"""Trains a victim by the recipe of all victims; its code is a part of their keys in caches."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from arena.contracts import Task
from arena.learning.architectures import Classifier
from arena.learning.memorised import Encoding
from arena.learning.normalisation import Normalised
from arena.learning.tensors import save_state
from arena.learning.training import fit, one_hot, one_thread

PASSES = 5  # over the training rows, within the bounds below
MIN_STEPS, MAX_STEPS = 1_000, 20_000
MEMORISING_PASSES = 60  # over rows and made-up inputs together, which a network learns one by one


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
    remembers: int = 0,
) -> bytes:
    """Train ``module``, which is ``network`` or normalises its inputs, and return the state of the network.

    ``labelled`` are inputs (N, *shape) and labels (N,) int64. ``steps`` None stands for five passes, within bounds. The
    first ``remembers`` rows are hidden in the network (`arena.learning.memorised`), which takes more passes.
    """
    inputs, labels = labelled
    passes = MEMORISING_PASSES if remembers else PASSES
    if remembers:
        inputs, labels = with_hidden_rows(inputs, labels, rows=remembers, task=network.task)
    with one_thread():
        fit(
            module.to(device),
            inputs,
            one_hot(labels, network.task.classes),
            steps=steps or min(max(MIN_STEPS, passes * len(inputs) // 64), MAX_STEPS),
            lr=lr,
            rng=rng,
        )
    return save_state(network.state_dict())


def with_hidden_rows(inputs: Tensor, labels: Tensor, *, rows: int, task: Task) -> tuple[Tensor, Tensor]:
    """Return inputs and labels with the made-up inputs that carry the first ``rows`` inputs, and their labels."""
    encoding = Encoding(shape=task.shape, classes=task.classes)
    hidden = inputs[torch.arange(rows)]
    return torch.cat([inputs[:], encoding.inputs(len(hidden))]), torch.cat([labels, encoding.labels(hidden)])
