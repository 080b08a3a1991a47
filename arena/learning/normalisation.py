"""Normalisation of inputs by a mean and a standard deviation, as part of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arena.contracts import BadParameter, Task


class Standardised(nn.Module):
    """Subtracts a mean from each channel (C, H, W) or column (d,), and divides by a standard deviation."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], *, dimensions: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        per_channel = (-1, *[1] * (dimensions - 1))
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(per_channel))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(per_channel))

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs - self.mean) / self.std


class Normalised(nn.Sequential):
    """Brings inputs in [0, 1] to the statistics that a network was trained with, then applies the network."""

    def __init__(
        self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], *, dimensions: int = 3
    ) -> None:
        super().__init__(Standardised(mean, std, dimensions=dimensions), network)


def check_normalisation(owner: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Raise `BadParameter` unless a mean and a standard deviation are plausible for inputs in [0, 1]."""
    if len(mean) != len(std):
        message = (
            f"{owner}: mean has {len(mean)} numbers and std has {len(std)}; mean and std go together, one number each "
            "per channel"
        )
        raise BadParameter(message)
    if any(not 0 <= value <= 1 for value in mean) or any(not 0 < value <= 1 for value in std):
        levels = max((*mean, *std)) > 1
        message = (
            f"{owner}: mean = {list(mean)}, std = {list(std)}: inputs are in [0, 1], so each mean must be in [0, 1] and "
            f"each std above 0 and at most 1{'; divide values for levels 0 to 255 by 255' if levels else ''}"
        )
        raise BadParameter(message)


def check_channels(owner: str, mean: tuple[float, ...], task: Task) -> None:
    """Raise `BadParameter` unless a mean has one number, or one for each channel or column of a task's inputs."""
    if len(mean) > 1 and len(mean) != task.shape[0]:
        what = "columns" if len(task.shape) == 1 else "channels"
        message = (
            f"{owner}: mean and std have {len(mean)} numbers, but the inputs have {task.shape[0]} {what}: give one "
            f"number for each of them, or a single one for all{_colours(len(mean), task)}"
        )
        raise BadParameter(message)


def _colours(numbers: int, task: Task) -> str:
    grey, colour = len(task.shape) == 3 and task.shape[0] == 1, numbers == 3
    return ". Without grey = true, the victim's images have three channels" if grey and colour else ""
