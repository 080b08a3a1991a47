"""Weight each channel of a convolutional activation by the relevance that propagates to it from the class.

Source: J. R. Lee, Kim, Park, Eo, Hwang, "Relevance-CAM: Your Model Already Knows Where to Look", CVPR 2021; relevance
by the z+ rule of Montavon, Lapuschkin, Binder, Samek, Mueller, "Explaining Nonlinear Classification Decisions with Deep
Taylor Decomposition", Pattern Recognition 65, 2017, arXiv 1512.02479.
Departures: Relevance starts with 1 for the class and -1 / (K - 1) for each other class, where the paper uses the
class's logit and negative shares of it. This is the same up to a factor, unless the logit is negative, which would
reverse the map. At the sum of a residual block, relevance is divided between both sides in proportion to their positive
parts, so that it is conserved.
Published number: none that a later table repeats. Reproduced: formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.func import vjp

from arena.contracts import BadParameter, Explainer, Explanation
from arena.learning.chains import RESIDUAL_BLOCKS, device_of, in_padded_chunks, split_after_convolution

STABILISER = 1e-9
_PASSED = (nn.ReLU, nn.BatchNorm2d, nn.Dropout, nn.Identity)
_POOLED = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


@dataclass(frozen=True, kw_only=True)
class RelevanceCam(Explanation):
    """``back`` counts convolutional activations from the end; 1 is the last. Maps are (N, h, w) and nonnegative."""

    back: int = 1

    def deploy(self, module: nn.Module, references: Tensor, *, rng: Generator) -> Explainer:
        split = split_after_convolution(module, back=self.back)
        for link in split.top:
            check_known(link)

        @torch.no_grad()
        def attribute(inputs: Tensor, classes: Tensor) -> Tensor:
            activations = split.bottom(inputs)
            outputs = split.top(activations)
            relevance = relevances(split.top, activations, contrastive(classes, outputs.shape[1]))
            return relevance_map(activations, relevance)

        return in_padded_chunks(attribute, device=device_of(module))


def relevance_map(activations: Tensor, relevance: Tensor) -> Tensor:
    """Return ReLU(sum_k R_k A_k) as (N, h, w); R_k is the ``relevance`` (N, C, h, w) of channel k, summed over pixels."""
    weights = relevance.sum(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1).clamp(min=0)


def contrastive(classes: Tensor, total: int) -> Tensor:
    """Return the initial relevance (N, K) of the logits: 1 for the class (N,), -1 / (K - 1) for every other one."""
    start = torch.full((len(classes), total), -1 / (total - 1), device=classes.device)
    return start.scatter(1, classes.unsqueeze(1), 1.0)


def relevances(links: Iterable[nn.Module], inputs: Tensor, relevance: Tensor) -> Tensor:
    """Return the relevance of the inputs (N, ...) to a chain of modules, given the relevance of its outputs."""
    modules, values = list(links), [inputs]
    for module in modules:
        values.append(module(values[-1]))
    for module, layer_inputs in zip(reversed(modules), reversed(values[:-1]), strict=True):
        relevance = _through(module, layer_inputs, relevance)
    return relevance


def check_known(module: nn.Module) -> None:
    """Raise `BadParameter` for a layer through which relevance cannot be propagated."""
    known = (nn.Linear, nn.Conv2d, nn.Flatten, *_PASSED, *_POOLED)
    if not isinstance(module, known) and type(module).__name__ not in RESIDUAL_BLOCKS:
        message = f"relevance-cam has no rule for a layer of class {type(module).__name__}; use grad-cam instead"
        raise BadParameter(message)


def _through(module: nn.Module, inputs: Tensor, relevance: Tensor) -> Tensor:
    if type(module).__name__ in RESIDUAL_BLOCKS:
        return _through_block(module, inputs, relevance)
    if isinstance(module, nn.Flatten):
        return relevance.reshape(inputs.shape)
    if isinstance(module, nn.Linear | nn.Conv2d):
        return shared_out(_positive(module), inputs, relevance)
    return shared_out(module, inputs, relevance) if isinstance(module, _POOLED) else relevance


def _through_block(block: nn.Module, inputs: Tensor, relevance: Tensor) -> Tensor:
    """Return the relevance of a residual block's inputs, the sum of that through its branch and its shortcut."""
    branch, shortcut = _branch(block), getattr(block, "downsample", None)
    branch_outputs = inputs
    for module in branch:
        branch_outputs = module(branch_outputs)
    shortcut_outputs = inputs if shortcut is None else shortcut(inputs)
    branch_part, shortcut_part = branch_outputs.clamp(min=0), shortcut_outputs.clamp(min=0)
    total = branch_part + shortcut_part + STABILISER
    through = relevances(branch, inputs, relevance * branch_part / total)
    around = relevance * shortcut_part / total
    return through + (around if shortcut is None else relevances(shortcut, inputs, around))


def _branch(block: nn.Module) -> Sequence[nn.Module]:
    """Return the modules of torchvision's residual branch in order, with a ReLU after all layers but the last."""
    depth = 3 if hasattr(block, "conv3") else 2
    layers: list[nn.Module] = []
    for number in range(1, depth + 1):
        layers += [block.get_submodule(f"conv{number}"), block.get_submodule(f"bn{number}"), nn.ReLU()]
    return layers[:-1]


def _positive(module: nn.Linear | nn.Conv2d) -> Callable[[Tensor], Tensor]:
    """Return the layer with only its positive weights and without its bias."""
    weight = module.weight.clamp(min=0)
    if isinstance(module, nn.Linear):
        return lambda inputs: nn.functional.linear(inputs, weight)
    return lambda inputs: nn.functional.conv2d(
        inputs, weight, None, module.stride, module.padding, module.dilation, module.groups
    )


def shared_out(function: Callable[[Tensor], Tensor], inputs: Tensor, relevance: Tensor) -> Tensor:
    """Return R_i = sum_j a_i w_ij / (sum_i' a_i' w_i'j + 1e-9) R_j for a layer linear in its inputs a, by weights w.

    It can be differentiated, and mapped over weights by `torch.func.vmap`.
    """
    outputs, transposed, *_ = vjp(function, inputs)
    shares: Tensor = transposed(relevance / (outputs + STABILISER))[0]
    return inputs * shares
