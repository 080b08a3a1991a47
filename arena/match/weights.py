"""Weights of a victim from a file, as training scripts leave them: matched to one of our networks by name and shape."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from arena.contracts import BadParameter, DataMissing, Task
from arena.learning.architectures import Classifier, build
from arena.learning.randomness import generator
from arena.learning.tensors import load_state

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of a name that wrappers of torch insert anywhere: DataParallel, compile, FSDP, activation checkpoints."""

HOLDERS = frozenset({"model", "net", "network", "backbone"})
"""Attributes in which training frameworks hold the network, so that every name in its state begins with one of them."""

OPTIONAL = "num_batches_tracked"
"""The buffer of batch normalisation that only counts training steps; files without it are complete."""

SIDES = (224, 32, 28, 64, 96, 128, 256, 299, 384, 16, 8, 20, 24, 48)
"""The sides of images for which a file that does not fit is tried, the most common ones first."""

SHOWN = 4  # names of each kind in a message

_OWN_PREFIX = "body."
_PICKLES = (b"PK\x03\x04", b"\x80")  # how files of `torch.save` begin, today's and older ones

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Match:
    """The names of a file matched to those of a network."""

    found: Mapping[str, str]  # from the network's names to the file's
    missing: tuple[str, ...]  # names of the network that the file lacks
    unexpected: tuple[str, ...]  # names of the file that the network lacks
    differing: tuple[str, ...]  # names of the network whose tensor has another shape in the file

    @property
    def complete(self) -> bool:
        return not (self.missing or self.unexpected or self.differing)


def fill(network: Classifier, path: Path) -> None:
    """Load a safetensors file into a network, without the prefixes that wrappers put before its names.

    Raises `DataMissing` if there is no such file, and `BadParameter` if it is not a safetensors file, does not hold the
    weights of this network, or holds values that are not finite.
    """
    state, wanted = _read(path), network.state_dict()
    has, wants = _shapes(state), _shapes(wanted)
    match = matched(has, wants)
    if not match.complete:
        message = (
            f"{path} does not hold the weights of {network.architecture}: {_differences(match, has, wants)}. "
            f"{_reason(match, has, network)}"
        )
        raise BadParameter(message)
    filled = {name: state[match.found[name]] if name in match.found else value for name, value in wanted.items()}
    _check_values(path, filled, wanted)
    network.load_state_dict(filled)


def matched(has: Shapes, wants: Shapes) -> Match:
    """Match the names of a file with those of a network, whose own prefix ``body.`` a file may leave out."""
    found: dict[str, str] = {}
    unexpected = []
    plain = _without_wrappers(list(has))
    prefixes = ("", _OWN_PREFIX, _common_prefix(wants))
    for name in has:
        target = next((prefix + plain[name] for prefix in prefixes if prefix + plain[name] in wants), None)
        if target is None or target in found:
            unexpected.append(name)
        else:
            found[target] = name
    return Match(
        found=found,
        missing=tuple(name for name in wants if name not in found and name.rpartition(".")[2] != OPTIONAL),
        unexpected=tuple(unexpected),
        differing=tuple(name for name, own in found.items() if has[own] != wants[name]),
    )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        message = f"there is no file of weights {path}"
        raise DataMissing(message) from error
    except OSError as error:
        message = f"the file of weights {path} cannot be read: {error.strerror}"
        raise DataMissing(message) from error
    try:
        return load_state(data)
    except Exception as error:
        pickled = data.startswith(_PICKLES)  # asked second, because a header of safetensors may begin like this too
        message = _how_to_convert(path) if pickled else f"{path} is not a safetensors file: {error}"
        raise BadParameter(message) from error


def _how_to_convert(path: Path) -> str:
    target = path.with_suffix(f"{'.converted' if path.suffix == '.safetensors' else ''}.safetensors")
    return (
        f"{path} is not a safetensors file but one of torch.save, which can hold code and is therefore not opened. If you "
        f"trust it, convert it, and set weights = {str(target)!r}:\n"
        "import torch, safetensors.torch\n"
        f"safetensors.torch.save_file(torch.load({str(path)!r}, weights_only=True, map_location='cpu'), {str(target)!r})\n"
        "If it holds a whole checkpoint, save the state dict in it instead, such as torch.load(...)['state_dict']."
    )


def _without_wrappers(names: list[str]) -> dict[str, str]:
    """Return the names without the parts that wrappers inserted, and without a holder that begins all of them."""
    parts = {name: [part for part in name.split(".") if part not in WRAPPERS] for name in names}
    while parts and len(first := {tuple(own[:1]) for own in parts.values() if len(own) > 1}) == 1:
        if any(len(own) < 2 for own in parts.values()) or not HOLDERS.issuperset(*first):
            break
        parts = {name: own[1:] for name, own in parts.items()}
    return {name: ".".join(own) for name, own in parts.items()}


def _common_prefix(names: Shapes) -> str:
    """Return the modules in which all tensors of a network are, such as ``body.1.``."""
    levels = zip(*(name.split(".")[:-1] for name in names), strict=False)
    common = itertools.takewhile(lambda level: len(set(level)) == 1, levels)
    return "".join(f"{level[0]}." for level in common)


def _differences(match: Match, has: Shapes, wants: Shapes) -> str:
    shapes = [
        f"{match.found[name]} is {_words(has[match.found[name]])} in the file and {_words(wants[name])} in the network"
        for name in match.differing
    ]
    said = [
        f"{what} {_some(names)}"
        for what, names in (
            ("the file lacks", [name.removeprefix(_OWN_PREFIX) for name in match.missing]),
            ("the network has no", list(match.unexpected)),
            ("of another shape:", shapes),
        )
        if names
    ]
    return "; ".join(said)


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _words(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _reason(match: Match, has: Shapes, network: Classifier) -> str:
    """Return what to do about a file that does not fit; where only shapes differ, for which task it was made."""
    if not (match.missing or match.unexpected):
        for other in _other_tasks(match, has, network):
            try:
                with torch.device("meta"):  # shapes alone
                    wants = _shapes(build(network.architecture, other, rng=generator(0, "weights")).state_dict())
            except (BadParameter, RuntimeError, ValueError):
                continue
            if matched(has, wants).complete:
                return f"The file was made for {'; and for '.join(_changes(network.task, other))}"
    return "Set arch to the architecture with which the file was trained"


def _other_tasks(match: Match, has: Shapes, network: Classifier) -> list[Task]:
    """Return tasks with another number of classes or another shape of inputs, the ones with fewest changes first."""
    task, (*_, last) = network.task, network.state_dict()
    sizes = dict.fromkeys([task.classes, *has[match.found[last]][:1]])
    if len(task.shape) == 1:
        shapes: list[tuple[int, ...]] = [task.shape, *(shape[1:] for shape in has.values() if len(shape) == 2)]
    else:
        channels, *sides = task.shape
        squares = [tuple(sides), *((side, side) for side in SIDES)]
        shapes = [(count, *square) for count in (channels, 3 if channels == 1 else 1) for square in squares]
    others = [Task(shape=shape, classes=size) for size, shape in itertools.product(sizes, dict.fromkeys(shapes))]
    return sorted(others, key=lambda other: len(list(_changes(task, other))))


def _changes(task: Task, other: Task) -> Iterator[str]:
    if other.classes != task.classes:
        yield (
            f"{other.classes:,} classes (num_classes), but the victim's data have {task.classes:,}: train its last layer "
            "for these classes first"
        )
    if len(task.shape) == 1:
        if other.shape != task.shape:
            yield f"{other.shape[0]:,} columns, but the victim's data have {task.shape[0]:,}"
        return
    if other.shape[0] != task.shape[0]:
        wanted = "grey = true" if other.shape[0] == 1 else "grey = false, and take images in colour"
        yield f"images of {other.shape[0]} channels, but the victim's have {task.shape[0]}: set {wanted}"
    if other.shape[1:] != task.shape[1:]:
        yield f"images of another side than {task.shape[-1]}: set side to that of its training, such as {other.shape[-1]}"


def _check_values(path: Path, filled: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for name, value in filled.items():
        plain = name.removeprefix(_OWN_PREFIX)
        if value.is_floating_point() != wanted[name].is_floating_point():
            message = f"{path}: {plain} is of type {value.dtype}, not {wanted[name].dtype}: save weights as floats"
            raise BadParameter(message)
        if not bool(value.isfinite().all()):
            message = f"{path}: {plain} holds values that are not finite, so the victim would answer no probabilities"
            raise BadParameter(message)


def _shapes(state: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(value.shape) for name, value in state.items()}
