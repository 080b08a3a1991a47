"""The weights of a network in two parts, layer by layer, and how sensitive its answers are to each layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, float64, nn
from torch.func import functional_call, grad, vmap

from arena.contracts import BadParameter
from arena.defenses.parts.factors import Named
from arena.learning.chains import Split, chain, split_after_convolution

Weights = dict[str, Tensor]
"""Weights by name, which begins with the part: ``bottom.`` or ``top.``. With one set per query, queries come first."""

BOTTOM, TOP = "bottom.", "top."

_MEASURED_AT_ONCE = 32  # rows whose gradients with respect to every weight are held in memory together


def is_image_network(module: nn.Module) -> bool:
    """Return whether a network has a two-dimensional convolution."""
    return any(isinstance(layer, nn.Conv2d) for layer in module.modules())


def split_of(module: nn.Module, *, back: int = 1) -> Split:
    """Return a network split after its last convolutional activation, or else before its last layer with weights.

    ``back`` is the number of that activation or layer, counted from the end. Raises `BadParameter` if there are fewer.
    """
    if is_image_network(module):
        return split_after_convolution(module, back=back)
    links = chain(module)
    places = [place for place, link in enumerate(links) if any(True for _ in link.parameters())]
    if back > len(places):
        message = f"the network has {len(places)} layers with weights, but back = {back}: use a smaller number"
        raise BadParameter(message)
    cut = places[-back]
    return Split(bottom=nn.Sequential(*links[:cut]).eval(), top=nn.Sequential(*links[cut:]).eval())


def weights_of(split: Split) -> Weights:
    """Return every weight of both parts by name; detached, because the defended model may still require gradients."""
    parts = ((BOTTOM, split.bottom), (TOP, split.top))
    return {prefix + name: value.detach() for prefix, part in parts for name, value in part.named_parameters()}


def in_part(weights: Weights, prefix: str) -> Weights:
    """Return the weights whose names begin with ``prefix``."""
    return {name: value for name, value in weights.items() if name.startswith(prefix)}


def named_layers(part: nn.Sequential, prefix: str) -> list[Named]:
    """Return the layers of a part by name; a layer that is used twice is named after its first position."""
    links = list(part)
    return [(f"{prefix}{links.index(link)}.", link) for link in links]


def layers_of(weights: Weights) -> list[str]:
    """Return the names of the layers in order, each of them once."""
    return list(dict.fromkeys(map(_layer, weights)))


def sensitivities(split: Split, inputs: Tensor) -> dict[str, Tensor]:
    """Return, for each layer, the mean L1 norm of the gradient of the predicted posterior with respect to its weights.

    The mean is taken over the inputs (N, *shape).
    """
    weights = weights_of(split)

    def posterior(weights: Weights, row: Tensor) -> Tensor:
        activation = _run(split.bottom, weights, BOTTOM, row.unsqueeze(0))
        return _run(split.top, weights, TOP, activation).softmax(dim=1).amax()

    sums = {layer: inputs.new_zeros((), dtype=float64) for layer in layers_of(weights)}
    gradients_of = vmap(grad(posterior), in_dims=(None, 0))
    for chunk in inputs.split(_MEASURED_AT_ONCE):
        for name, gradient in gradients_of(weights, chunk).items():
            sums[_layer(name)] += gradient.double().abs().sum()
    return {layer: total / max(len(inputs), 1) for layer, total in sums.items()}


def selected(weights: Weights, sensitivity: Sequence[float], *, share: float) -> list[str]:
    """Return the names of the weights in the most sensitive layers, which together have ``share`` of the sensitivity.

    ``sensitivity`` is in the order of `layers_of`. The layer that takes the sum past the share is included.
    """
    ranked = sorted(zip(layers_of(weights), sensitivity, strict=True), key=lambda one: -one[1])
    total, sum_so_far, chosen = sum(sensitivity), 0.0, set()
    for layer, value in ranked:
        chosen.add(layer)
        sum_so_far += value
        if sum_so_far >= share * total:
            break
    return [name for name in weights if _layer(name) in chosen]


def _run(part: nn.Module, weights: Weights, prefix: str, inputs: Tensor) -> Tensor:
    of_part = {name.removeprefix(prefix): value for name, value in in_part(weights, prefix).items()}
    outputs: Tensor = functional_call(part, of_part, (inputs,))
    return outputs


def _layer(name: str) -> str:
    return name.rpartition(".")[0]
