"""The attribution map whose order `DeepDefense` keeps: that of the explanation that is served, made differentiable.

Each draws the map of the served method from what the network of a query computes, with its autograd graph; the formulas
are those of `arena.explanations`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import interpolate

from arena.contracts import Explanation
from arena.defenses.parts.factors import Named
from arena.defenses.parts.layer_weights import Weights, is_image_network
from arena.explanations.grad_cam import GradCam, class_activation_map
from arena.explanations.gradient_input import GradientInput, summed_over_channels
from arena.explanations.libra_cam import LibraCam, accepted_references, base_maps
from arena.explanations.relevance_cam import RelevanceCam, contrastive, relevance_map, relevances
from arena.learning.chains import device_of, split_after_convolution
from arena.learning.training import padded

_PREPARED_AT_ONCE = 64  # queries whose masked copies, one for each reference, are run together


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What the networks of N queries compute, as far as a map is drawn from it.

    ``values`` (N, ...) are those at the map's place, ``slopes`` (N, ...) the gradients of the logits of the classes
    ``label`` (N,), out of ``classes``, with respect to them, None unless the map wants them. ``weights`` are the selected
    ones above the place, (N, ...) each, by the names of ``above``, the layers there. ``constants`` (N, R) are what the
    map prepared.
    """

    values: Tensor
    slopes: Tensor | None
    label: Tensor
    classes: int
    weights: Weights
    above: Sequence[Named]
    constants: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptMap:
    """A map that is drawn on the values after ``place`` layers of the network; 0 stands for the inputs.

    ``draw`` returns the map (N, P). A ``signed`` one has an order among its negative values too. ``by_slopes`` says
    whether it is drawn from gradients of the logit, rather than from the weights themselves. ``prepare`` returns
    constants (N, R) for inputs (N, *shape) and classes (N,), which the victim's network decides.
    """

    place: int
    draw: Callable[[Seen], Tensor]
    signed: bool = False
    by_slopes: bool = True
    prepare: Callable[[Tensor, Tensor], Tensor] = lambda inputs, label: inputs.new_empty(len(inputs), 0)


def kept_map(
    explanation: Explanation | None, module: nn.Module, *, back: int, references: Tensor, rng: Generator
) -> KeptMap | None:
    """Return the map of the served explanation.

    If none is served, or one that has no rule here, it is the Grad-CAM map at the ``back``-th convolutional activation
    from the end, and None for a network without a convolution. ``references`` (M, *shape) and ``rng`` are those from
    which Libra-CAM draws its library.
    """
    if isinstance(explanation, GradientInput):
        return KeptMap(place=0, draw=_gradient_times_input, signed=True)
    if isinstance(explanation, RelevanceCam):
        return KeptMap(place=_place(module, explanation.back), draw=_relevance, by_slopes=False)
    if isinstance(explanation, LibraCam):
        return _libra(explanation, module, references, rng=rng)
    if isinstance(explanation, GradCam):
        back = explanation.back
    return KeptMap(place=_place(module, back), draw=_grad_cam) if is_image_network(module) else None


def _place(module: nn.Module, back: int) -> int:
    return len(split_after_convolution(module, back=back).bottom)


def _grad_cam(seen: Seen) -> Tensor:
    assert seen.slopes is not None, "a map by slopes is given them"
    return class_activation_map(seen.values, seen.slopes).flatten(1)


def _gradient_times_input(seen: Seen) -> Tensor:
    assert seen.slopes is not None, "a map by slopes is given them"
    return summed_over_channels(seen.values * seen.slopes).flatten(1)


class _Relevance(nn.Module):
    """The relevance (N, C, h, w) of the inputs of a chain, so that `functional_call` can give it other weights."""

    def __init__(self, links: Sequence[Named]) -> None:
        super().__init__()
        self.links = nn.Sequential(*(link for _, link in links))

    def forward(self, values: Tensor, start: Tensor) -> Tensor:
        return relevances(self.links, values, start)


def _relevance(seen: Seen) -> Tensor:
    """Propagate the relevance of the class through each query's own weights."""
    network = _Relevance(seen.above)
    places = {name: f"links.{place}." for place, (name, _) in reversed(list(enumerate(seen.above)))}
    own = {places[name] + key.removeprefix(name): value for name in places for key, value in _of(seen.weights, name)}

    def one(weights: dict[str, Tensor], values: Tensor, start: Tensor) -> Tensor:
        found: Tensor = functional_call(network, weights, (values.unsqueeze(0), start.unsqueeze(0)))
        return found.squeeze(0)

    start = contrastive(seen.label, seen.classes).to(seen.values.dtype)
    relevance = vmap(one)(own, seen.values, start) if own else network(seen.values, start)
    return relevance_map(seen.values, relevance).flatten(1)


def _of(weights: Weights, name: str) -> list[tuple[str, Tensor]]:
    return [(key, value) for key, value in weights.items() if key.startswith(name)]


def _libra(explanation: LibraCam, module: nn.Module, references: Tensor, *, rng: Generator) -> KeptMap:
    """Return the map with the victim's library, and with the references that the victim's own map accepts."""
    split = split_after_convolution(module, back=explanation.back)
    chosen = explanation.drawn_from(references, rng=rng).to(device_of(module), next(module.parameters()).dtype)
    with torch.no_grad():
        library = split.bottom(chosen)
    size = tuple(references.shape[2:])

    def draw(seen: Seen) -> Tensor:
        assert seen.slopes is not None, "a map by slopes is given them"
        maps = base_maps(seen.values, seen.slopes, library)
        mean = (maps * seen.constants[..., None, None]).sum(dim=1, keepdim=True)
        return interpolate(mean, size=size, mode="bilinear", align_corners=False).flatten(1)

    def prepare(inputs: Tensor, label: Tensor) -> Tensor:
        rows = [
            accepted_references(split, padded(part), padded(classes), library)[: len(part)]
            for part, classes in zip(inputs.split(_PREPARED_AT_ONCE), label.split(_PREPARED_AT_ONCE), strict=True)
        ]
        weights = torch.cat(rows).to(inputs.dtype)
        return weights / weights.sum(dim=1, keepdim=True)

    return KeptMap(place=_place(module, explanation.back), draw=draw, prepare=prepare)
