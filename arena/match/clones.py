"""Clones as safetensors of a named architecture: the header is checked before any data, and nothing is unpickled."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from safetensors import SafetensorError
from torch import Generator, Tensor, nn

from arena.contracts import AttackFault, Task
from arena.learning.architectures import Classifier, build
from arena.learning.tensors import load_state, save_state, state_digest
from arena.learning.training import padded_forward
from arena.oracle.interrupts import is_operators

MAX_FILE_BYTES = 256 * 2**20
MAX_HEADER_BYTES = 2**20
SHOWN_NAMES = 4  # the most tensors that a message names
_DTYPES = {torch.float32: "F32", torch.int64: "I64"}


def pack_clone(clone: nn.Module) -> bytes:
    """Return the safetensors bytes of a clone, with its architecture in the header's metadata.

    Raises `AttackFault` for a network that `build` did not make: it has no name under which it could be rebuilt.
    """
    if not isinstance(clone, Classifier):
        message = (
            f"a clone of class {type(clone).__name__} has no named architecture; make it with "
            "arena.learning.architectures.build"
        )
        raise AttackFault(message)
    return save_state(clone.state_dict(), about={"architecture": clone.architecture})


def unpack_clone(data: bytes, task: Task) -> Classifier:
    """Return the clone that `pack_clone` packed, in eval mode.

    Raises `AttackFault` unless the bytes are the weights of a named architecture for ``task``: their names, shapes and
    dtypes must equal its state dict, their size is bounded, and every number must be finite.
    """
    header = safetensors_header(data)
    about = header.pop("__metadata__", {})
    architecture = about.get("architecture", "") if isinstance(about, dict) else ""
    if not isinstance(architecture, str) or not architecture:
        message = "the clone's header names no architecture; its metadata must, as in {'architecture': 'small-cnn'}"
        raise AttackFault(message)
    try:
        with torch.device("meta"):  # shapes without memory, because the header may name a network of any size
            shapes = build(architecture, task, rng=Generator().manual_seed(0)).state_dict()
    except Exception as error:
        message = f"the clone's header names the architecture {architecture!r}, which cannot be built: {error}"
        raise AttackFault(message) from error
    wanted = {name: f"{_DTYPES[value.dtype]} {list(value.shape)}" for name, value in shapes.items()}
    given = {
        name: f"{entry.get('dtype')} {entry.get('shape')}" if isinstance(entry, dict) else "no tensor"
        for name, entry in header.items()
    }
    if given != wanted:
        message = f"the clone's tensors are not those of {architecture}: {'; '.join(_differences(given, wanted))}"
        raise AttackFault(message)
    try:
        state = load_state(data)
    except SafetensorError as error:
        message = f"the clone's data do not match its header: {error}"
        raise AttackFault(message) from error
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        message = "the clone has weights that are not finite"
        raise AttackFault(message)
    network = build(architecture, task, rng=Generator().manual_seed(0))
    network.load_state_dict(state)
    return network.eval()


def _differences(given: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    """Yield which tensors are missing, which are unexpected, and the first with another dtype or shape."""
    missing, surplus = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing:
        yield f"missing {_listed(missing)}"
    if surplus:
        yield f"unexpected {_listed(surplus)}"
    for name in sorted(given.keys() & wanted.keys()):
        if given[name] != wanted[name]:
            yield f"{name} is {given[name]}; it must be {wanted[name]}"
            return


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def checked_clone(clone: object, task: Task) -> nn.Module:
    """Return an attack's clone. Raises `AttackFault` unless it is a torch module with finite logits (N, K)."""
    if not isinstance(clone, nn.Module):
        message = f"extract must return a torch module that returns logits, not {type(clone).__name__}"
        raise AttackFault(message)
    clone.eval()
    probe = torch.rand(3, *task.shape, generator=Generator().manual_seed(0))
    logits = padded_forward(clone, probe)
    if logits.shape != (3, task.classes) or not bool(torch.isfinite(logits).all()):
        message = (
            f"the clone returned logits of shape {tuple(logits.shape)} for 3 inputs; they must be finite and of shape "
            f"(3, {task.classes})"
        )
        raise AttackFault(message)
    return clone


class AnsweringClone(nn.Module):
    """A clone that is known by its answers alone: it has no weights here, and no gradients."""


class WatchedClone(nn.Module):
    """An attack's clone while it is scored: whatever goes wrong in it is the attack's fault, and is recorded.

    `forward` raises `AttackFault` if the clone raises anything, or returns logits that are not (N, K) or not finite.
    """

    def __init__(self, clone: nn.Module, task: Task) -> None:
        super().__init__()
        self.clone, self._task = clone, task
        self.fault: AttackFault | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        try:
            logits: Tensor = self.clone(inputs)
            wanted = (len(inputs), self._task.classes)
            fine = tuple(logits.shape) == wanted and bool(torch.isfinite(logits).all())
        except BaseException as error:
            if is_operators(error):
                raise
            raise self._blamed(f"the clone raised {type(error).__name__} while it was scored: {error}") from error
        if not fine:
            raise self._blamed(
                f"the clone returned logits of shape {tuple(logits.shape)}; they must be finite and of shape {wanted}"
            )
        return logits

    def check_gradients(self) -> None:
        """Raise `AttackFault` if the clone's logits cannot be differentiated with respect to its inputs."""
        device = next(self.clone.parameters()).device
        probe = torch.full((1, *self._task.shape), 0.5, device=device, requires_grad=True)
        try:
            (gradient,) = torch.autograd.grad(self(probe).sum(), probe)
            fine = bool(torch.isfinite(gradient).all())
        except RuntimeError as error:
            raise self._blamed(f"the clone's logits have no gradients with respect to its inputs: {error}") from error
        if not fine:
            raise self._blamed("the gradients of the clone's logits with respect to its inputs are not finite")

    def _blamed(self, words: str) -> AttackFault:
        self.fault = self.fault or AttackFault(words)
        return AttackFault(words)


def clone_digest(clone: nn.Module) -> str:
    """Return the digest of a clone's weights."""
    return state_digest(clone.state_dict())


def posteriors_of(clone: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function from inputs (N, *shape) to posteriors (N, K); its forwards are padded to fixed batch sizes."""

    def answer(inputs: Tensor) -> Tensor:
        return padded_forward(clone, inputs).softmax(dim=1)

    return answer


def safetensors_header(data: bytes) -> dict[str, object]:
    """Return the JSON header of safetensors bytes, whose size is checked before it is parsed."""
    if len(data) < 8 or len(data) > MAX_FILE_BYTES:
        message = f"a clone must be a safetensors file of 8 to {MAX_FILE_BYTES} bytes, not {len(data)}"
        raise AttackFault(message)
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        message = f"the clone's header claims {length} bytes; at most {MAX_HEADER_BYTES} are allowed, within the file"
        raise AttackFault(message)
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        message = f"the clone's header is not JSON: {error}"
        raise AttackFault(message) from error
    if not isinstance(header, dict):
        message = "the clone's header is not a JSON object of tensors by name"
        raise AttackFault(message)
    return header
