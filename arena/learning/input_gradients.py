"""Gradients of a network with respect to its inputs, row by row."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Direction = Literal["loss", "gradient"]
"""What is differentiated: the cross entropy at a class, or the logit of the class."""


def input_gradient(network: nn.Module, inputs: Tensor, classes: Tensor, *, direction: Direction) -> Tensor:
    """Return the gradients (N, *shape) for inputs and classes (N,), on the CPU; ``network`` is in eval mode.

    It is the gradient of a sum over rows, so that the gradient of a row does not depend on the others.
    """
    device = next(network.parameters()).device
    x, c = inputs.detach().to(device).requires_grad_(True), classes.to(device)
    logits = network(x)
    score = (
        logits.gather(1, c.unsqueeze(1)).sum() if direction == "gradient" else cross_entropy(logits, c, reduction="sum")
    )
    return torch.autograd.grad(score, x)[0].cpu()
