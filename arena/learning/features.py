"""The features of a network: the activations that enter its last linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from arena.learning.training import padded_forward


class Features(nn.Module):
    """A network up to its last `nn.Linear`, from inputs (N, *shape) to features (N, F); flat inputs if it has none."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        layers = [module for module in self.network.modules() if isinstance(module, nn.Linear)]
        if not layers:
            return inputs.flatten(1)
        features: list[Tensor] = []
        hook = layers[-1].register_forward_pre_hook(lambda module, arguments: features.append(arguments[0]))
        try:
            self.network(inputs)
        finally:
            hook.remove()
        return features[-1]


def penultimate(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return the features (N, F) float32 of a network in eval mode, on the CPU, padded as in `padded_forward`."""
    return padded_forward(Features(network), inputs)
