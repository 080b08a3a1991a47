"""Approximate the score linearly around many reference activations, and average the maps whose masks keep it.

Source: S. Lee, Han, "Libra-CAM: An Activation-Based Attribution Based on the Linear Approximation of Deep Neural Nets
and Threshold Calibration", IJCAI 2022, pp. 3185-3191; which maps are kept as in the authors' code (sanglee/Libra-CAM).
Departures: One library of references serves every class, where the authors keep one for each; it is drawn from the
training inputs with the explanation's generator. The second calibration is left out, which sets those lowest tenths of
a map to zero that raise the class's posterior most. A constant map becomes zeros.
Published number: none that a later table repeats. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate

from arena.contracts import BadParameter, Explainer, Explanation
from arena.learning.chains import Split, device_of, in_padded_chunks, split_after_convolution

_MASKED_AT_ONCE = 1024  # masked rows, one for each pair of a reference and an input


@dataclass(frozen=True, kw_only=True)
class LibraCam(Explanation):
    """``references`` is the number of reference activations. Maps are (N, H, W) in [0, 1], of the inputs' size.

    ``back`` counts convolutional activations from the end; 1 is the last.
    """

    references: int = 30
    back: int = 1

    def __post_init__(self) -> None:
        if self.references < 1:
            message = f"references = {self.references} must be at least 1"
            raise BadParameter(message)

    def deploy(self, module: nn.Module, references: Tensor, *, rng: Generator) -> Explainer:
        split, device = split_after_convolution(module, back=self.back), device_of(module)
        chosen = self.drawn_from(references, rng=rng)
        with torch.no_grad():
            library = split.bottom(chosen.to(device))

        def attribute(inputs: Tensor, classes: Tensor) -> Tensor:
            return calibrated_map(split, inputs, classes, library)

        return in_padded_chunks(attribute, device=device)

    def drawn_from(self, references: Tensor, *, rng: Generator) -> Tensor:
        """Return the inputs (R, *shape) whose activations are the library."""
        return references[torch.randperm(len(references), generator=rng)[: self.references]]


def calibrated_map(split: Split, inputs: Tensor, classes: Tensor, library: Tensor) -> Tensor:
    """Return the average (N, H, W) of the accepted base maps for classes (N,).

    Each reference activation of the ``library`` (R, C, h, w) gives one base map.
    """
    found = _candidates(split, inputs, classes, library)
    weights = found.accepted.to(found.maps.dtype)
    return (found.maps * weights[..., None, None]).sum(dim=1) / weights.sum(dim=1)[:, None, None]


def accepted_references(split: Split, inputs: Tensor, classes: Tensor, library: Tensor) -> Tensor:
    """Return which references of the ``library`` (R, C, h, w) give a base map that counts, (N, R) bool."""
    return _candidates(split, inputs, classes, library).accepted


class _Candidates(NamedTuple):
    """The base maps (N, R, H, W) in the inputs' size, and which of them count, (N, R) bool."""

    maps: Tensor
    accepted: Tensor


def _candidates(split: Split, inputs: Tensor, classes: Tensor, library: Tensor) -> _Candidates:
    with torch.no_grad():
        activations = split.bottom(inputs)
    with torch.enable_grad():
        activations = activations.requires_grad_(True)
        logits = split.top(activations)
        (gradients,) = torch.autograd.grad(logits.gather(1, classes.unsqueeze(1)).sum(), activations)
    with torch.no_grad():
        maps = base_maps(activations, gradients, library)
        maps = interpolate(maps, size=inputs.shape[2:], mode="bilinear", align_corners=False)
        before = logits.softmax(dim=1).gather(1, classes.unsqueeze(1))
        return _Candidates(maps, accepted(_masked_posteriors(split, inputs, classes, maps) - before))


def base_maps(activations: Tensor, gradients: Tensor, library: Tensor) -> Tensor:
    """Return sum_k g_k (A_k - A_k^r) for each reference r, scaled to [0, 1], as (N, R, h, w)."""
    at_input = (gradients * activations).sum(dim=1, keepdim=True)
    at_references = torch.einsum("nchw,rchw->nrhw", gradients, library)
    return unit_range(at_input - at_references)


def unit_range(maps: Tensor) -> Tensor:
    """Return maps (..., h, w) shifted and scaled to [0, 1]; a constant map becomes zeros."""
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp(min=torch.finfo(maps.dtype).tiny)  # differentiable, also if constant


def accepted(gains: Tensor) -> Tensor:
    """Return which maps count, (N, R) bool, by the gains (N, R) in the class's posterior when they mask the input.

    Maps with a positive gain count if it is at least the mean minus one standard deviation of all positive gains. If no
    gain is positive, maps count that are above the mean plus one standard deviation of all gains; if none is, all
    count.
    """
    gains = gains.double()
    rises = gains > 0
    count = rises.sum(dim=1, keepdim=True).clamp(min=1)
    mean = (gains * rises).sum(dim=1, keepdim=True) / count
    spread = (((gains - mean) * rises).square().sum(dim=1, keepdim=True) / count).sqrt()
    kept = rises & (gains >= mean - spread)
    well_above = gains > gains.mean(dim=1, keepdim=True) + gains.std(dim=1, keepdim=True, correction=0)
    otherwise = torch.where(well_above.any(dim=1, keepdim=True), well_above, torch.ones_like(well_above))
    return torch.where(rises.any(dim=1, keepdim=True), kept, otherwise)


def _masked_posteriors(split: Split, inputs: Tensor, classes: Tensor, maps: Tensor) -> Tensor:
    """Return the posterior (N, R) of each input's class when each of its maps (N, R, H, W) masks it."""
    masked = (inputs.unsqueeze(1) * maps.unsqueeze(2)).flatten(0, 1)
    wanted = classes.repeat_interleave(maps.shape[1]).unsqueeze(1)
    parts = [split.top(split.bottom(rows)).softmax(dim=1) for rows in masked.split(_MASKED_AT_ONCE)]
    return torch.cat(parts).gather(1, wanted).reshape(maps.shape[:2])
