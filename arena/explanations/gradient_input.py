"""Weight each input value by how much the predicted class's logit rises with it.

Source: Shrikumar, Greenside, Shcherbina, Kundaje, "Not Just a Black Box: Learning Important Features Through
Propagating Activation Differences", arXiv 1605.01713; gradient times input.
Departures: Maps are summed over the channels of an image, with their signs.
Published number: none that a later table repeats. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor, nn

from arena.contracts import Explainer, Explanation
from arena.learning.chains import device_of, in_padded_chunks
from arena.learning.input_gradients import input_gradient


@dataclass(frozen=True, kw_only=True)
class GradientInput(Explanation):
    """Has no parameters. Maps are (N, H, W) for images and (N, d) for tables."""

    def deploy(self, module: nn.Module, references: Tensor, *, rng: Generator) -> Explainer:
        def attribute(inputs: Tensor, classes: Tensor) -> Tensor:
            return gradient_times_input(module, inputs, classes)

        return in_padded_chunks(attribute, device=device_of(module))


def gradient_times_input(module: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    """Return x dz_c / dx for classes c (N,), summed over channels: (N, H, W) for images, (N, d) for tables."""
    maps = inputs * input_gradient(module, inputs, classes, direction="gradient").to(inputs.device)
    return summed_over_channels(maps)


def summed_over_channels(maps: Tensor) -> Tensor:
    """Return maps (N, H, W) of images (N, C, H, W); those of tables (N, d) stay as they are."""
    return maps.sum(dim=1) if maps.dim() == 4 else maps
