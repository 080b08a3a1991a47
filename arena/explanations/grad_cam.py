"""Weigh each channel of the last convolutional activation by its mean gradient, and keep what speaks for the class.

Source: Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: Visual Explanations from Deep Networks via
Gradient-Based Localization", ICCV 2017, arXiv 1610.02391.
Departures: none. Published number: none that a later table repeats. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from arena.contracts import Explainer, Explanation
from arena.learning.chains import Split, device_of, in_padded_chunks, split_after_convolution


@dataclass(frozen=True, kw_only=True)
class GradCam(Explanation):
    """``back`` counts convolutional activations from the end, 1 is the last. Maps are (N, h, w), 0 or more."""

    back: int = 1

    def deploy(self, module: nn.Module, references: Tensor, *, rng: Generator) -> Explainer:
        split = split_after_convolution(module, back=self.back)

        def attribute(inputs: Tensor, classes: Tensor) -> Tensor:
            activations, gradients = activations_and_gradients(split, inputs, classes)
            return class_activation_map(activations, gradients)

        return in_padded_chunks(attribute, device=device_of(module))


def class_activation_map(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return ReLU(sum_k w_k A_k) as (N, h, w) for activations A (N, C, h, w), w the mean over pixels of gradients."""
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1).clamp(min=0)


def activations_and_gradients(split: Split, inputs: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return A (N, C, h, w) of inputs and dz_c / dA for classes c (N,); a row's do not depend on the others."""
    with torch.no_grad():
        activations: Tensor = split.bottom(inputs)
    activations = activations.requires_grad_(True)
    logits = split.top(activations).gather(1, classes.unsqueeze(1)).sum()
    (gradients,) = torch.autograd.grad(logits, activations)
    return activations.detach(), gradients
