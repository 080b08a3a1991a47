"""Weight each channel of the last convolutional activation by its mean gradient, and keep what supports the class.

Source: Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, "Grad-CAM: Visual Explanations from Deep Networks via
Gradient-Based Localization", ICCV 2017, arXiv 1610.02391.
Departures: None. Published number: none that a later table repeats. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from arena.contracts import Explainer, Explanation
from arena.learning.chains import Split, device_of, in_padded_chunks, split_after_convolution


@dataclass(frozen=True, kw_only=True)
class GradCam(Explanation):
    """``back`` counts convolutional activations from the end; 1 is the last. Maps are (N, h, w) and nonnegative."""

    back: int = 1

    def deploy(self, module: nn.Module, references: Tensor, *, rng: Generator) -> Explainer:
        split = split_after_convolution(module, back=self.back)

        def attribute(inputs: Tensor, classes: Tensor) -> Tensor:
            return class_activation_map(*activations_and_gradients(split, inputs, classes))

        return in_padded_chunks(attribute, device=device_of(module))


def class_activation_map(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return ReLU(sum_k w_k A_k) as (N, h, w) for activations A (N, C, h, w); w is the gradients' mean over pixels."""
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1).clamp(min=0)


class Activation(NamedTuple):
    """A convolutional activation A of N inputs and the gradients dz_c / dA, both (N, C, h, w)."""

    values: Tensor
    gradients: Tensor


def activations_and_gradients(split: Split, inputs: Tensor, classes: Tensor) -> Activation:
    """Return the activation of inputs and its gradients for classes (N,), which are independent for each row."""
    with torch.no_grad():
        activations: Tensor = split.bottom(inputs)
    activations = activations.requires_grad_(True)
    logits = split.top(activations).gather(1, classes.unsqueeze(1)).sum()
    (gradients,) = torch.autograd.grad(logits, activations)
    return Activation(activations.detach(), gradients)
