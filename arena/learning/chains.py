"""A network as a chain of modules, cut after a convolutional activation: what attributions and relevance walk along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arena.contracts import BadParameter, Explainer
from arena.learning.architectures import Classifier
from arena.learning.training import PADDED_SIZES, padded

RESIDUAL_BLOCKS = ("BasicBlock", "Bottleneck")
"""Of torchvision's residual networks; told by name, since importing torchvision takes a second."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Inputs through ``bottom`` are activations A (N, C, h, w), those through ``top`` logits (N, K); weights are shared."""

    bottom: nn.Sequential
    top: nn.Sequential


def chain(network: nn.Module) -> list[nn.Module]:
    """Return modules that give the network's logits one after another; residual blocks stay whole.

    Raises `BadParameter` for a network that is no such chain: ours, and torchvision's ResNets, VGGs and AlexNet, are.
    """
    if isinstance(network, Classifier):
        return chain(network.body)
    if isinstance(network, nn.Sequential):
        return [link for module in network for link in chain(module)]
    kind = type(network).__name__
    if kind == "ResNet":
        names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")
        return [*(link for name in names for link in chain(network.get_submodule(name))), nn.Flatten(), _head(network)]
    if kind in ("VGG", "AlexNet"):
        first = [link for name in ("features", "avgpool") for link in chain(network.get_submodule(name))]
        return [*first, nn.Flatten(), *chain(network.get_submodule("classifier"))]
    if kind not in RESIDUAL_BLOCKS and any(network.children()):
        message = f"{kind} is no chain of layers that this explanation can walk; it knows ours, ResNets, VGGs, AlexNet"
        raise BadParameter(message)
    return [network]


def split_after_convolution(network: nn.Module, *, back: int = 1) -> Split:
    """Return a network cut after its last convolutional activation, or the ``back``-th from the end.

    An activation is that of the ReLU behind a convolution, of the convolution itself where none is, or of a residual
    block. Raises `BadParameter` if there are not so many.
    """
    links = chain(network)
    ends = [place for place in range(len(links)) if _is_activation(links, place)]
    if not 1 <= back <= len(ends):
        name = getattr(network, "architecture", type(network).__name__)
        message = f"{name} has {len(ends)} convolutional activations, and number {back} from the end is asked for: "
        message += "take gradient-input for networks without a convolution" if not ends else "take fewer"
        raise BadParameter(message)
    cut = ends[-back] + 1
    return Split(bottom=nn.Sequential(*links[:cut]).eval(), top=nn.Sequential(*links[cut:]).eval())


def in_padded_chunks(attribute: Callable[[Tensor, Tensor], Tensor], *, device: torch.device) -> Explainer:
    """Return the explainer that asks ``attribute`` for maps of padded chunks on ``device`` and gives them on the CPU.

    Padded as forwards are: the bits of a map then depend on the size of its own call alone.
    """

    def explain(inputs: Tensor, classes: Tensor) -> Tensor:
        chunks = zip(inputs.split(PADDED_SIZES[-1]), classes.split(PADDED_SIZES[-1]), strict=True)
        maps = [attribute(padded(rows).to(device), padded(chosen).to(device))[: len(rows)] for rows, chosen in chunks]
        return torch.cat(maps).detach().float().cpu()

    return explain


def device_of(network: nn.Module) -> torch.device:
    """Return where a network's weights are."""
    return next(network.parameters()).device


def _is_activation(links: list[nn.Module], place: int) -> bool:
    link = links[place]
    if type(link).__name__ in RESIDUAL_BLOCKS:
        return True
    before = [type(other) for other in links[:place] if not isinstance(other, nn.BatchNorm2d)]
    if isinstance(link, nn.ReLU):
        return bool(before) and before[-1] is nn.Conv2d
    behind = [type(other) for other in links[place + 1 :] if not isinstance(other, nn.BatchNorm2d)]
    return isinstance(link, nn.Conv2d) and not (behind and behind[0] is nn.ReLU)


def _head(network: nn.Module) -> nn.Module:
    return network.get_submodule("fc")
