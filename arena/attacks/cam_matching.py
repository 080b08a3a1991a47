"""If answers come with explanations, train the clone to give the same answers for the same reasons.

Source: Milli, Schmidt, Dragan, Hardt, "Model Reconstruction from Model Explanations", FAT* 2019, arXiv 1807.05185, who
match input gradients. Matching class activation maps instead is the threat that DeepDefense (J. Lee, S. Han, S. Lee,
IJCAI 2022) addresses.
Departures: Maps are compared by the cosine after subtracting their means, so that neither scale nor offset matters. The
maps of an oracle that explains by Relevance-CAM or Libra-CAM are matched by the clone's Grad-CAM, which is
differentiable.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate

from arena.contracts import Attack, AttackContext, BadParameter, Need, Oracle, StopReason, Task
from arena.learning.architectures import build
from arena.learning.chains import split_after_convolution
from arena.learning.distillation import distil

BY_GRADIENT = "gradient-input"
_FLAT = 1e-12  # the norm up to which a centred map counts as constant, and so as uninformative

MapOf = Callable[[Tensor, Tensor], Tensor]
"""Maps inputs (N, *shape) and classes (N,) to the clone's attribution maps, differentiable in its weights."""


@dataclass(frozen=True, kw_only=True)
class CamMatching(Attack):
    """``weight`` is the weight of the maps relative to the cross entropy; it rises to this value over ``ramp`` steps.

    ``arch`` is the clone's architecture (``auto``: chosen by the task) and ``steps`` its training steps (None: the
    referee's recipe).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"pool", "explanations"})
    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"pool exhausted"})

    weight: float = 1.0
    ramp: int = 200
    arch: str = "auto"
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.weight < 0 or self.ramp < 1:
            message = f"weight = {self.weight} must be at least 0, and ramp = {self.ramp} at least 1"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Query as many explained rows as the budget allows, spend the rest on plain ones, and train on both."""
        order = torch.randperm(len(context.pool), generator=rng)
        clone = build(self.arch, oracle.task, rng=rng).to(context.device)
        map_of = differentiable_maps(clone, oracle.explanation or BY_GRADIENT, oracle.task)
        explained = context.pool[order[: oracle.remaining // (1 + oracle.explanation_price)]]
        inputs, released, maps = explained[:0], torch.empty(0, oracle.task.classes), None
        if len(explained):
            answer = oracle.query(explained, explain=True)
            inputs, released, maps = explained, answer.posteriors, answer.explanations
        plain = context.pool[order[len(explained) :][: oracle.remaining]]
        if len(plain):
            inputs = torch.cat([inputs, plain])
            released = torch.cat([released, oracle.query(plain).posteriors])
        penalty = None
        if maps is not None and self.weight > 0:
            penalty = self._penalty(map_of, *(part.to(context.device) for part in (explained, released, maps)))
        return distil(clone, inputs, released, rng=rng, steps=self.steps, time_left=context.time_left, penalty=penalty)

    def _penalty(
        self, map_of: MapOf, explained: Tensor, released: Tensor, maps: Tensor
    ) -> Callable[[int, Tensor], Tensor]:
        """Return a function from the step and the rows of a batch to the weighted distance between their maps.

        Plain rows, which have no map, do not count.
        """
        classes, wanted = released.argmax(dim=1), directions(maps)

        def penalty(step: int, chosen: Tensor) -> Tensor:
            rows = chosen[chosen < len(explained)].to(explained.device)
            if not len(rows):
                return explained.new_zeros(())
            found = directions(map_of(explained[rows], classes[rows]), like=maps)
            return self.weight * min(1.0, (step + 1) / self.ramp) * map_distance(found, wanted[rows])

        return penalty


def differentiable_maps(clone: nn.Module, explanation: str, task: Task) -> MapOf:
    """Return a function that computes the clone's maps, of a kind that can be compared with the oracle's explanations.

    Raises `BadParameter` if that takes a convolution and the clone has none.
    """
    if explanation == BY_GRADIENT:

        def gradient_map(inputs: Tensor, classes: Tensor) -> Tensor:
            x = inputs.detach().requires_grad_(True)
            scores = clone(x).gather(1, classes.unsqueeze(1)).sum()
            (gradients,) = torch.autograd.grad(scores, x, create_graph=True)
            maps: Tensor = inputs * gradients
            return maps.sum(dim=1) if len(task.shape) == 3 else maps

        return gradient_map
    split = split_after_convolution(clone)

    def activation_map(inputs: Tensor, classes: Tensor) -> Tensor:
        activations = split.bottom(inputs)
        scores = split.top(activations).gather(1, classes.unsqueeze(1)).sum()
        (gradients,) = torch.autograd.grad(scores, activations, create_graph=True)
        maps: Tensor = (gradients.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1).clamp(min=0)
        return maps

    return activation_map


def directions(maps: Tensor, *, like: Tensor | None = None) -> Tensor:
    """Return maps (N, ...) as centred vectors (N, P) of length 1; a constant map becomes zeros.

    Maps (N, h, w) are first resized to the size of ``like``, if it has another.
    """
    if like is not None and maps.dim() == 3 and maps.shape[1:] != like.shape[1:]:
        size = (int(like.shape[1]), int(like.shape[2]))
        maps = interpolate(maps.unsqueeze(1), size=size, mode="bilinear", align_corners=False).squeeze(1)
    flat = maps.flatten(1)
    centred = flat - flat.mean(dim=1, keepdim=True)
    lengths = (centred.square().sum(dim=1, keepdim=True) + _FLAT**2).sqrt()
    return torch.where(lengths > 2 * _FLAT, centred / lengths, 0.0)


def map_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean of 1 - cos over the rows whose wanted direction (N, P) is not zero; 0 if there are none."""
    informative = wanted.any(dim=1)
    return ((1 - (found * wanted).sum(dim=1)) * informative).sum() / informative.sum().clamp(min=1)
