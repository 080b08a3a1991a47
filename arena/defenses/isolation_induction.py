"""Train the victim so that its answers teach nothing on outliers and mislead elsewhere (InI).

Source: Guo, Liu, Zheng, Liang, Xiao, Wu, Liu, "Isolation and Induction: Training Robust Deep Neural Networks against
Model Stealing Attacks", ACM Multimedia 2023, arXiv 2308.00958, and the authors' code. There are four losses: the
ordinary cross entropy, and three that involve a surrogate of the attacker's clone, a fresh network of the same
architecture that is never trained. ``induction`` is the distance between the victim's and the surrogate's answers on
outliers. ``isolation`` is the cosine, on the defender's data, between the gradient that the victim's answers cause in
the surrogate and the one that labels would cause. ``silence`` is the size of the former gradient on outliers.
Conflicting gradients are projected (PCGrad: Yu, Kumar, Gupta, Levine, Hausman, Finn, "Gradient Surgery for Multi-Task
Learning", NeurIPS 2020, arXiv 2001.06782).
Departures: The optimiser is Adam with our schedule, where the authors use SGD with weight decay. A loss of weight 0 is
not computed.
Published number: none on equal terms. Reproduced: formula (of the authors' code); direction (queries unlike the
victim's data teach less than before; queries like it teach as much).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy

from arena.contracts import BadParameter, Defense, DefenseContext, Need, NeedUnmet, Responder, State
from arena.defenses.parts.defender_networks import answered_by_restored, network_like_victim, stored
from arena.learning.randomness import child
from arena.learning.training import BATCH, batches, descent

ANSWERING = "answering"  # the name of the network in the state


@dataclass(frozen=True, kw_only=True)
class IsolationInduction(Defense):
    """The fields are the weights of the three losses; the authors' code calls them gamma, delta and epsilon."""

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
                f"induction = {self.induction}, isolation = {self.isolation} and silence = {self.silence} must be at "
                f"least 0, and steps = {self.steps} at least 1"
            )
            raise BadParameter(message)

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        outliers = context.outliers
        if outliers is None or len(outliers) == 0:
            message = "isolation-induction needs outliers: declare them with the defense, for example outliers = far"
            raise NeedUnmet(message)
        answering, surrogate = (network_like_victim(context, rng=rng) for _ in range(2))
        surrogate.eval()
        inputs, labels = (part.to(context.device) for part in context.training)
        outliers = outliers.to(context.device)
        outlier_batches = batches(len(outliers), batch=BATCH, steps=self.steps, rng=child(rng))
        order, weights = child(rng), list(answering.parameters())

        def backward(chosen: Tensor) -> None:
            losses = self._losses(answering, surrogate, inputs[chosen], labels[chosen], outliers[next(outlier_batches)])
            gradients = [flat(torch.autograd.grad(loss, weights, retain_graph=True)) for loss in losses]
            put(weights, without_conflicts(torch.stack(gradients), rng=order))

        for _ in descent(answering, backward, rows=len(inputs), steps=self.steps, rng=child(rng)):
            pass
        return stored(answering, ANSWERING)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        return answered_by_restored(state, ANSWERING, context)

    def _losses(self, victim: nn.Module, surrogate: nn.Module, x: Tensor, y: Tensor, outlying: Tensor) -> list[Tensor]:
        weights = list(surrogate.parameters())
        logits, outlying_logits = victim(x), victim(outlying)
        losses = [cross_entropy(logits, y)]
        if self.induction > 0:
            with torch.no_grad():
                guess = surrogate(outlying)
            losses.append(self.induction * induction_loss(outlying_logits, guess))
        if self.isolation > 0:
            guess = surrogate(x)
            by_answers = stealing_gradient(guess, logits, weights)
            by_labels = flat(torch.autograd.grad(cross_entropy(guess, y), weights))
            losses.append(self.isolation * cosine_similarity(by_answers, by_labels, dim=0))
        if self.silence > 0:
            losses.append(self.silence * stealing_gradient(surrogate(outlying), outlying_logits, weights).abs().mean())
        return losses


def induction_loss(logits: Tensor, guess: Tensor) -> Tensor:
    """Return the mean |guess - (log p - its mean over classes)| for the victim's and the surrogate's logits (N, K)."""
    log_posteriors = logits.log_softmax(dim=1)
    return (guess - (log_posteriors - log_posteriors.mean(dim=1, keepdim=True))).abs().mean()


def stealing_gradient(guess: Tensor, logits: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Return the gradient (P,) of the mean KL(surrogate || victim) with respect to the surrogate's ``weights``.

    It is differentiable in the victim's weights. ``guess`` and ``logits`` (N, K) are the surrogate's and the victim's
    logits.
    """
    log_guess = guess.log_softmax(dim=1)
    divergence = (log_guess.exp() * (log_guess - logits.log_softmax(dim=1))).sum(dim=1).mean()
    return flat(torch.autograd.grad(divergence, weights, create_graph=True))


def without_conflicts(gradients: Tensor, *, rng: Generator) -> Tensor:
    """Return the sum (P,) of gradients (L, P), after removing from each what opposes the others, in random order."""
    total = torch.zeros_like(gradients[0])
    for number, gradient in enumerate(gradients):
        kept = gradient
        for other in torch.randperm(len(gradients), generator=rng).tolist():
            if other != number:
                overlap, square = kept @ gradients[other], gradients[other].square().sum()
                kept = kept - overlap.clamp(max=0) / square.clamp(min=torch.finfo(square.dtype).tiny) * gradients[other]
        total = total + kept
    return total


def flat(parts: Sequence[Tensor]) -> Tensor:
    """Return the tensors as a single vector."""
    return torch.cat([part.flatten() for part in parts])


def put(weights: Sequence[Tensor], gradient: Tensor) -> None:
    """Set the gradients of weights to the parts of a vector, in the weights' memory format, as fused Adam requires."""
    for weight, part in zip(weights, gradient.split([weight.numel() for weight in weights]), strict=True):
        weight.grad = torch.empty_like(weight).copy_(part.view_as(weight))
