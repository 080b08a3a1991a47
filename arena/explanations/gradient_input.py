"""Weigh each input value by how much the predicted class's logit rises with it.

Source: Shrikumar, Greenside, Shcherbina, Kundaje, "Not Just a Black Box: Learning Important Features Through Propagating
Activation Differences", arXiv 1605.01713; gradient times input.
Departures: summed over the channels of an image, signs kept.
Published number: none that a later table repeats. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from arena.contracts import Explainer, Explanation
from arena.learning.input_gradients import input_gradient
from arena.learning.training import PADDED_SIZES, padded


@dataclass(frozen=True, kw_only=True)
class GradientInput(Explanation):
    """Has no parameters. Maps are (N, H, W) of images, (N, d) of tables."""

    def deploy(self, module: nn.Module, references: Tensor, *, rng: Generator) -> Explainer:
        def explain(inputs: Tensor, classes: Tensor) -> Tensor:
            chunks = zip(inputs.split(PADDED_SIZES[-1]), classes.split(PADDED_SIZES[-1]), strict=True)
            return torch.cat(
                [gradient_times_input(module, padded(rows), padded(chosen))[: len(rows)] for rows, chosen in chunks]
            )

        return explain


def gradient_times_input(module: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    """Return sum over channels of x dz_c / dx for classes c (N,): (N, H, W) of images, (N, d) of tables."""
    maps = inputs * input_gradient(module, inputs, classes, direction="gradient")
    return maps.sum(dim=1) if maps.dim() == 4 else maps
