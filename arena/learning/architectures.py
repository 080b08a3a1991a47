"""Networks by name. Their weights are drawn from the caller's generator, and convolutions run channels-last."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

from arena.contracts import BadParameter, Task
from arena.learning.torchvision_import import torchvision_models

_initialising = threading.Lock()  # layers draw from torch's global generator, so one network at a time
_MLP_OF_WIDTH = re.compile(r"mlp-([1-9]\d{0,5})")
_SMALL_IMAGE = 64  # up to this side, ResNet-18 gets the 3x3 stem of the CIFAR variants


class Classifier(nn.Module):
    """A network that knows its architecture's name; it maps inputs (N, *shape) float32 in [0, 1] to logits (N, K)."""

    def __init__(self, body: nn.Module, *, architecture: str, task: Task) -> None:
        super().__init__()
        self.body = body
        self.architecture: str = architecture
        self.task: Task = task

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.body(inputs)
        return logits


def build(arch: str, task: Task, *, rng: Generator) -> Classifier:
    """Return a fresh network in training mode.

    ``arch`` is ``auto``, which chooses by the task, one of `architecture_names`, or another name that these describe.
    Raises `BadParameter` for an unknown name or one that does not fit the task.
    """
    name = resolve(arch, task)
    with drawn_from(rng):
        body = _body(name, task)
    network = Classifier(body, architecture=name, task=task)
    if len(task.shape) == 3:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    return network


@contextmanager
def drawn_from(rng: Generator) -> Iterator[None]:
    """Draw the weights of layers that are created in this context from ``rng``, and restore the global generator."""
    seed = int(torch.randint(2**62, (1,), generator=rng, device="cpu").item())
    with _initialising, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def resolve(arch: str, task: Task) -> str:
    """Return ``arch``, or for ``auto`` an MLP for tables, small-cnn for images up to 32x32, and ResNet-18 beyond."""
    if arch != "auto":
        return arch
    if len(task.shape) == 1:
        return "mlp"
    return "small-cnn" if max(task.shape[1:]) <= 32 else "resnet18"


def architecture_of(module: nn.Module | None, task: Task) -> str:
    """Return the name of the `Classifier` that a module is or contains, or else the one that ``auto`` stands for."""
    inside = [part for part in module.modules() if isinstance(part, Classifier)] if module is not None else []
    return inside[0].architecture if inside else resolve("auto", task)


def untrained_like(network: nn.Module, task: Task, *, rng: Generator) -> nn.Module:
    """Return an untrained network of a network's architecture, in eval mode on its device; ``auto`` if that has no name."""
    device = next(network.parameters()).device
    return build(architecture_of(network, task), task, rng=rng).to(device).eval()


def architecture_names() -> tuple[str, ...]:
    """Return our own names. ``mlp-H``, an MLP with H hidden units, and torchvision's names are accepted as well."""
    return tuple(_OWN)


def _body(name: str, task: Task) -> nn.Module:
    if width := _MLP_OF_WIDTH.fullmatch(name):
        return _mlp(task, hidden=int(width[1]))
    if name in _OWN:
        if name in _IMAGES_ONLY and len(task.shape) != 3:
            message = (
                f"{name} takes images (C, H, W), but this task has inputs of shape {task.shape}; use linear or mlp"
            )
            raise BadParameter(message)
        return _OWN[name](task)
    return _torchvision(name, task)


def _linear(task: Task) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(task.shape), task.classes))


def _mlp(task: Task, hidden: int = 64) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(task.shape), hidden), nn.ReLU(), nn.Linear(hidden, task.classes)
    )


def _strided_cnn(task: Task, first: int, second: int) -> nn.Module:
    channels, height, width = task.shape
    flat = second * math.ceil(math.ceil(height / 2) / 2) * math.ceil(math.ceil(width / 2) / 2)
    return nn.Sequential(
        nn.Conv2d(channels, first, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(first, second, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(flat, 64),
        nn.ReLU(),
        nn.Linear(64, task.classes),
    )


def _bench_cnn(task: Task) -> nn.Module:
    channels, height, width = task.shape
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (height // 4) * (width // 4), 128),
        nn.ReLU(),
        nn.Linear(128, task.classes),
    )


def _lenet(task: Task) -> nn.Module:
    channels, height, width = task.shape
    if min(height, width) < 16:
        message = f"lenet needs images of at least 16x16, but this task has {height}x{width}; use small-cnn"
        raise BadParameter(message)
    flat = 16 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(flat, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, task.classes),
    )


def _resnet18(task: Task) -> nn.Module:
    network = torchvision_models().resnet18(num_classes=task.classes)
    channels, height, width = task.shape
    if max(height, width) <= _SMALL_IMAGE:
        network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    elif channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    body: nn.Module = network
    return body


class _ThreeChannels(nn.Module):
    """Repeats a grey channel three times for a network that expects RGB."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.expand(-1, 3, -1, -1)


def _torchvision(name: str, task: Task) -> nn.Module:
    models = torchvision_models()
    if name not in models.list_models(module=models):
        message = f"no architecture {name!r}; there are {', '.join(_OWN)}, mlp-H for an MLP with H hidden units, "
        message += "and torchvision's classifiers by name"
        raise BadParameter(message)
    if len(task.shape) != 3 or task.shape[0] not in (1, 3):
        message = f"{name} takes RGB or grey images, but this task has inputs of shape {task.shape}"
        raise BadParameter(message)
    network: nn.Module = models.get_model(name, weights=None, num_classes=task.classes)
    return network if task.shape[0] == 3 else nn.Sequential(_ThreeChannels(), network)


_IMAGES_ONLY = frozenset({"small-cnn", "medium-cnn", "bench-cnn", "lenet", "resnet18"})
_OWN: dict[str, Callable[[Task], nn.Module]] = {
    "linear": _linear,
    "mlp": _mlp,
    "small-cnn": lambda task: _strided_cnn(task, 8, 16),
    "medium-cnn": lambda task: _strided_cnn(task, 16, 32),
    "bench-cnn": _bench_cnn,
    "lenet": _lenet,
    "resnet18": _resnet18,
}
