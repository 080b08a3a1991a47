"""Gradients of a network with respect to its inputs, row by row."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Direction = Literal["loss", "gradient"]
"""Of the cross entropy at a class, or of the class's logit."""


def input_gradient(network: nn.Module, inputs: Tensor, classes: Tensor, *, direction: Direction) -> Tensor:
    """Return d/dx for classes (N,) as (N, *shape) on the CPU; ``network`` is in eval mode.

    Taken of a sum over the rows, so that the gradient of one does not depend on the others.
    """
    device = next(network.parameters()).device
    x, c = inputs.detach().to(device).requires_grad_(True), classes.to(device)
    logits = network(x)
    score = (
        logits.gather(1, c.unsqueeze(1)).sum() if direction == "gradient" else cross_entropy(logits, c, reduction="sum")
    )
    return torch.autograd.grad(score, x)[0].cpu()
