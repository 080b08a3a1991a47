"""A network as a chain of modules, split after a convolutional activation, as attribution methods need it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arena.contracts import BadParameter, Explainer
from arena.learning.architectures import Classifier
from arena.learning.training import PADDED_SIZES, padded

RESIDUAL_BLOCKS = ("BasicBlock", "Bottleneck")
"""The blocks of torchvision's residual networks, recognised by name because importing torchvision takes a second."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """A network in two parts, which share its weights.

    ``bottom`` maps inputs to activations A (N, C, h, w), and ``top`` maps these to logits (N, K).
    """

    bottom: nn.Sequential
    top: nn.Sequential


def chain(network: nn.Module) -> list[nn.Module]:
    """Return the modules that compute the network's logits when run in sequence; residual blocks stay whole.

    Raises `BadParameter` for a network that is not such a chain. Our own networks are, and so are torchvision's
    ResNets, VGGs and AlexNet.
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
        message = f"{kind} is not a chain of layers that can be split; our networks, ResNets, VGGs and AlexNet are"
        raise BadParameter(message)
    return [network]


def split_after_convolution(network: nn.Module, *, back: int = 1) -> Split:
    """Return a network split after its last convolutional activation, or the ``back``-th from the end.

    An activation is the output of the ReLU after a convolution, of the convolution itself if no ReLU follows, or of a
    residual block. Raises `BadParameter` if there are too few.
    """
    links = chain(network)
    activations = [place for place in range(len(links)) if _is_activation(links, place)]
    if not 1 <= back <= len(activations):
        name = getattr(network, "architecture", type(network).__name__)
        message = (
            f"{name} has {len(activations)} convolutional activations, but number {back} from the end was requested: "
        )
        message += "use a smaller number" if activations else "use gradient-input for networks without a convolution"
        raise BadParameter(message)
    cut = activations[-back] + 1
    return Split(bottom=nn.Sequential(*links[:cut]).eval(), top=nn.Sequential(*links[cut:]).eval())


def in_padded_chunks(attribute: Callable[[Tensor, Tensor], Tensor], *, device: torch.device) -> Explainer:
    """Return an explainer that calls ``attribute`` on padded chunks on ``device``, and returns the maps on the CPU.

    Chunks are padded like forward passes, so that the bits of a map depend only on the size of its own call.
    """

    def explain(inputs: Tensor, classes: Tensor) -> Tensor:
        chunks = zip(inputs.split(PADDED_SIZES[-1]), classes.split(PADDED_SIZES[-1]), strict=True)
        maps = [attribute(padded(rows).to(device), padded(chosen).to(device))[: len(rows)] for rows, chosen in chunks]
        return torch.cat(maps).detach().float().cpu()

    return explain


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network's weights."""
    return next(network.parameters()).device


def _is_activation(links: list[nn.Module], place: int) -> bool:
    link = links[place]
    if type(link).__name__ in RESIDUAL_BLOCKS:
        return True
    preceding = [type(other) for other in links[:place] if not isinstance(other, nn.BatchNorm2d)]
    if isinstance(link, nn.ReLU):
        return bool(preceding) and preceding[-1] is nn.Conv2d
    following = [type(other) for other in links[place + 1 :] if not isinstance(other, nn.BatchNorm2d)]
    return isinstance(link, nn.Conv2d) and not (following and following[0] is nn.ReLU)


def _head(network: nn.Module) -> nn.Module:
    return network.get_submodule("fc")
