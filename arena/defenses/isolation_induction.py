"""Train the victim so that what its answers teach on outliers is useless and elsewhere points the wrong way (InI).

Source: Guo, Liu, Zheng, Liang, Xiao, Wu, Liu, "Isolation and Induction: Training Robust Deep Neural Networks against
Model Stealing Attacks", ACM Multimedia 2023, arXiv 2308.00958, and the authors' code. Four losses, of which the last
three look through the eyes of a thief, a fresh network of the same architecture that is never trained: the ordinary
cross entropy; the distance of the victim's answers on outliers to the thief's own (``induction``); the cosine, on the
defender's data, of the gradient that stealing gives the thief and that which labels would give it (``isolation``); and
the size of the former on outliers (``silence``). Gradients that conflict are projected (PCGrad: Yu, Kumar, Gupta,
Levine, Hausman, Finn, "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, arXiv 2001.06782).
Departures: Adam with our schedule, where the authors use SGD with weight decay. A loss of weight 0 is left out.
Published number: none at equal terms. Reproduced: formula (of the authors' code); direction (queries unlike the
victim's data teach less; queries like it teach as much as before).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy

from arena.contracts import BadParameter, Defense, DefenseContext, Need, NeedUnmet, Responder, State
from arena.defenses.parts.defender_networks import ReplacedVictim, network_like_victim, restored, stored
from arena.learning.composition import answered_by
from arena.learning.randomness import child
from arena.learning.training import BATCH, batches, descent

ANSWERING = "answering"  # the network's name in the state


@dataclass(frozen=True, kw_only=True)
class IsolationInduction(Defense):
    """Weights of the losses beside the cross entropy: gamma, delta and epsilon in the authors' code."""

    needs: ClassVar[frozenset[Need]] = frozenset({"outliers"})
    trained_by: ClassVar[frozenset[str]] = frozenset({"induction", "isolation", "silence", "steps"})
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("induction", (0.0, 0.1, 0.3, 1.0, 3.0))
    replaces_victim: ClassVar[bool] = True

    induction: float = 0.3
    isolation: float = 1.0
    silence: float = 1_000.0
    steps: int = 2_000

    def __post_init__(self) -> None:
        if min(self.induction, self.isolation, self.silence) < 0 or self.steps < 1:
            message = (
                f"induction = {self.induction}, isolation = {self.isolation}, silence = {self.silence}, "
                f"steps = {self.steps}: weights are 0 or more, steps 1 or more"
            )
            raise BadParameter(message)

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        outliers = context.outliers
        if outliers is None or len(outliers) == 0:
            message = "isolation-induction needs outliers: declare them with it, such as outliers = far"
            raise NeedUnmet(message)
        answering, thief = (network_like_victim(context, rng=rng) for _ in range(2))
        thief.eval()
        inputs, labels = (part.to(context.device) for part in context.training)
        outliers = outliers.to(context.device)
        beside = batches(len(outliers), batch=BATCH, steps=self.steps, rng=child(rng))
        order, weights = child(rng), list(answering.parameters())

        def backward(chosen: Tensor) -> None:
            losses = self._losses(answering, thief, inputs[chosen], labels[chosen], outliers[next(beside)])
            gradients = [flat(torch.autograd.grad(loss, weights, retain_graph=True)) for loss in losses]
            put(weights, without_conflicts(torch.stack(gradients), rng=order))

        for _ in descent(answering, backward, rows=len(inputs), steps=self.steps, rng=child(rng)):
            pass
        return stored(answering, ANSWERING)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        network = restored(state, ANSWERING, context)
        return answered_by(ReplacedVictim(module=network, task=context.victim.task))

    def _losses(self, victim: nn.Module, thief: nn.Module, x: Tensor, y: Tensor, strange: Tensor) -> list[Tensor]:
        weights = list(thief.parameters())
        logits, strange_logits = victim(x), victim(strange)
        losses = [cross_entropy(logits, y)]
        if self.induction > 0:
            with torch.no_grad():
                guess = thief(strange)
            losses.append(self.induction * induction_loss(strange_logits, guess))
        if self.isolation > 0:
            guess = thief(x)
            stealing = stealing_gradient(guess, logits, weights)
            learning = flat(torch.autograd.grad(cross_entropy(guess, y), weights))
            losses.append(self.isolation * cosine_similarity(stealing, learning, dim=0))
        if self.silence > 0:
            losses.append(self.silence * stealing_gradient(thief(strange), strange_logits, weights).abs().mean())
        return losses


def induction_loss(logits: Tensor, guess: Tensor) -> Tensor:
    """Return the mean |guess - (log p - its mean over classes)| of the victim's logits (N, K) and the thief's (N, K)."""
    log_posteriors = logits.log_softmax(dim=1)
    return (guess - (log_posteriors - log_posteriors.mean(dim=1, keepdim=True))).abs().mean()


def stealing_gradient(guess: Tensor, logits: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Return the gradient (P,) of the mean KL(thief || victim) by the thief's weights; it can be derived by the victim's.

    ``guess`` and ``logits`` (N, K) are the thief's and the victim's logits.
    """
    log_guess = guess.log_softmax(dim=1)
    divergence = (log_guess.exp() * (log_guess - logits.log_softmax(dim=1))).sum(dim=1).mean()
    return flat(torch.autograd.grad(divergence, weights, create_graph=True))


def without_conflicts(gradients: Tensor, *, rng: Generator) -> Tensor:
    """Return the sum (P,) of gradients (L, P), each without its parts against the others, taken in random order."""
    total = torch.zeros_like(gradients[0])
    for number, gradient in enumerate(gradients):
        kept = gradient
        for other in torch.randperm(len(gradients), generator=rng).tolist():
            if other != number:
                along, square = kept @ gradients[other], gradients[other].square().sum()
                kept = kept - along.clamp(max=0) / square.clamp(min=torch.finfo(square.dtype).tiny) * gradients[other]
        total = total + kept
    return total


def flat(parts: Sequence[Tensor]) -> Tensor:
    """Return tensors as one vector."""
    return torch.cat([part.flatten() for part in parts])


def put(weights: Sequence[Tensor], gradient: Tensor) -> None:
    """Make the parts of a vector the gradients of weights, in their memory format: a fused Adam trusts that it is."""
    for weight, part in zip(weights, gradient.split([weight.numel() for weight in weights]), strict=True):
        weight.grad = torch.empty_like(weight).copy_(part.view_as(weight))
