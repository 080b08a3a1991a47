"""What a network sees: the activations that enter its last linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arena.learning.training import padded_forward


def penultimate(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return features (N, F) float32 on the CPU: the input of the last `nn.Linear`, the flat inputs if there is none."""
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not layers:
        return inputs.flatten(1)
    seen: list[Tensor] = []

    def keep(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen.append(arguments[0].detach().float().cpu())

    hook = layers[-1].register_forward_pre_hook(keep)
    try:
        for chunk in inputs.split(256):
            rows = len(chunk)
            padded_forward(network, chunk)
            seen[-1] = seen[-1][:rows]
    finally:
        hook.remove()
    return torch.cat(seen)
