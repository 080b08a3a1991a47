"""A model as its owner wrote it, adapted to what our code calls: float32 inputs in [0, 1] to logits (N, K) float32.

The owner's object is left as it was: a copy of it is called, in float32 and in eval mode.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from arena.contracts import BadParameter, InvalidQuery
from arena.learning.randomness import generator

PROBES = 8
"""The rows on which a model is tried: an example, black, white, and noise."""

SUM_TOLERANCE = 1e-2  # of probabilities that were computed in half precision


class Adapted(nn.Module):
    """Maps inputs (N, *shape) float32 to logits (N, K) float32 on the model's device, whatever form its output has.

    A model that cannot be copied is called as it is. With ``probabilities``, the model's output is posteriors, whose
    logarithms are the logits.
    """

    def __init__(self, model: object, *, probabilities: bool = False) -> None:
        """Raises `BadParameter` for what is no module, and for one in training mode that cannot be copied."""
        super().__init__()
        if not isinstance(model, nn.Module):
            message = f"the model must be a torch.nn.Module, not {_kind(model)}: call it in the forward of a module"
            raise BadParameter(message)
        self.probabilities = probabilities
        unwrapped = _unwrapped(model)
        copied = _copied(unwrapped)
        self._is_copy = copied is not None
        self._called = (
            unwrapped if copied is None else copied,
        )  # a tuple hides the model from this module's methods, which would change it
        tensors = [*self._called[0].parameters(), *self._called[0].buffers()]
        floats = [tensor.dtype for tensor in tensors if tensor.is_floating_point()]
        self._dtype = floats[0] if floats else torch.float32
        device = tensors[0].device if tensors else torch.device("cpu")
        self.place = nn.Parameter(torch.empty(0, device=device), requires_grad=False)  # tells the device to callers
        if copied is None and getattr(unwrapped, "training", False):
            message = f"{_kind(model)} cannot be copied and is therefore called as it is: call model.eval() first"
            raise BadParameter(message)

    @property
    def device(self) -> torch.device:
        return self.place.device

    def forward(self, inputs: Tensor) -> Tensor:
        """Raises `BadParameter` for an output in which there are no logits of N rows and two or more classes."""
        output = self._output(inputs)
        return output.log() if self.probabilities else output

    def _output(self, inputs: Tensor) -> Tensor:
        output = _logits_in(self._called[0](inputs.to(self.device, self._dtype)))
        if output.dim() != 2 or len(output) != len(inputs) or output.shape[1] < 2:
            message = (
                f"the model's output has the shape {tuple(output.shape)} for {len(inputs)} inputs; it must be logits "
                f"({len(inputs)}, K) of at least two classes"
            )
            raise BadParameter(message)
        return output.float()

    @torch.inference_mode()
    def tried(self, example: Tensor) -> int:
        """Return the number of classes, by trying the model on an ``example`` (1, *shape) and a few other rows.

        Raises `InvalidQuery` if it does not take such inputs, and `BadParameter` if its output is not what it should be.
        """
        noise = torch.rand(PROBES - 3, *example.shape[1:], generator=generator(0, "probes"))
        rows = torch.cat([example.cpu(), torch.zeros_like(noise[:1]), torch.ones_like(noise[:1]), noise])
        try:
            output = self._output(rows)
        except BadParameter:
            raise
        except Exception as error:
            message = (
                f"the model raised {type(error).__name__} for {len(rows)} inputs ({len(rows)}, "
                f"{', '.join(map(str, example.shape[1:]))}) of {self._dtype}: {error}"
            )
            raise InvalidQuery(message) from error
        _check_kind(output, probabilities=self.probabilities)
        return output.shape[1]

    @torch.inference_mode()
    def weights(self, example: Tensor) -> nn.Module | None:
        """Return the copy that is called if it maps inputs to logits directly and has weights, else None."""
        (model,) = self._called
        if not self._is_copy or self.probabilities or next(model.parameters(), None) is None:
            return None
        return model if isinstance(model(example.to(self.device, self._dtype)), Tensor) else None


def own_copy(network: object, *, device: torch.device, name: str) -> nn.Module:
    """Return a copy of a network on a device, in float32 and in eval mode. Raises `BadParameter` if there can be none."""
    copied = _copied(_unwrapped(network)) if isinstance(network, nn.Module) else None
    if copied is None:
        message = f"{name} must be a torch.nn.Module that copy.deepcopy can copy, which {_kind(network)} is not"
        raise BadParameter(message)
    return copied.to(device)


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return the module inside those that only say how it is run: torch.compile's, and those of parallel training."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        inside = model.module if isinstance(model, wrappers) else getattr(model, "_orig_mod", None)
        if not isinstance(inside, nn.Module):
            return model
        model = inside


def _copied(model: nn.Module) -> nn.Module | None:
    """Return a frozen copy in float32 and in eval mode; None if it cannot be copied, as sessions of other runtimes."""
    try:
        copied = copy.deepcopy(model).float()
        if getattr(copied, "training", False):  # frozen scripts have no mode
            copied.eval()
    except Exception:  # whatever the owner's own code raises when it is copied
        return None
    for parameter in copied.parameters():
        parameter.requires_grad_(False)
    return copied


def _logits_in(output: object) -> Tensor:
    """Return the logits in a model's output: itself, its ``logits``, or the only matrix in a tuple or a mapping.

    Raises `BadParameter` if they cannot be told from other values.
    """
    named = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    for candidate in (output, named):
        if isinstance(candidate, Tensor | np.ndarray):
            return _floats(torch.as_tensor(candidate))
    if isinstance(output, Mapping):
        items = {str(key): value for key, value in output.items()}
    elif isinstance(output, Sequence) and not isinstance(output, str | bytes):
        items = {str(place): value for place, value in enumerate(output)}
    else:
        items = {}
    matrices = [value for value in items.values() if isinstance(value, Tensor | np.ndarray) and value.ndim == 2]
    if len(matrices) == 1:
        return _floats(torch.as_tensor(matrices[0]))
    held = f", which holds {', '.join(items)}" if items else ""
    message = (
        f"the model's output is of type {_kind(output)}{held}, and it is not clear what the logits are: wrap the model in a "
        "module whose forward returns the logits (N, K) alone"
    )
    raise BadParameter(message)


def _floats(output: Tensor) -> Tensor:
    if not output.is_floating_point():
        message = (
            f"the model's output is of type {output.dtype}; it must be logits (N, K) of a floating-point type. A model that "
            "answers labels can return torch.nn.functional.one_hot(labels, K).float(), with probabilities=True"
        )
        raise BadParameter(message)
    return output


def _check_kind(rows: Tensor, *, probabilities: bool) -> None:
    """Raise `BadParameter` for probabilities where logits are expected, or the reverse."""
    known = rows[rows.isfinite().all(dim=1)]
    if len(known) == 0:
        return  # the answer to a query says that they are not finite
    sums_to_one = bool((known >= 0).all()) and bool(((known.sum(dim=1) - 1).abs() <= SUM_TOLERANCE).all())
    if sums_to_one and not probabilities:
        message = (
            "the model's output seems to be probabilities: its rows are not negative and sum to one. Logits are expected, "
            "and a second softmax would flatten them: remove the softmax at the model's end, or set probabilities=True"
        )
        raise BadParameter(message)
    if probabilities and not sums_to_one:
        message = "probabilities=True, but the model's rows are negative or do not sum to one: leave it out for logits"
        raise BadParameter(message)


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
