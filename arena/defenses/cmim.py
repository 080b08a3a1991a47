"""Replace the victim by one whose answers to all inputs of a class are alike, so that they teach only the class.

Source: Ye, Hamidi, Yang, "Towards Undistillable Models by Minimizing Conditional Mutual Information", arXiv 2507.00012,
2025.
Departures: The paper's code is not public. Temperatures, weight and steps are ours, and the mean of a class is taken
over the rows of a batch.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from arena.contracts import BadParameter, Defense, DefenseContext, Responder, State
from arena.defenses.parts.defender_networks import answered_by_restored, network_like_victim, stored
from arena.learning.training import descent, one_hot

ANSWERING = "answering"


@dataclass(frozen=True, kw_only=True)
class Cmim(Defense):
    """``weight`` is that of the difference between the answers of a class, over several ``temperatures``."""

    trained_by: ClassVar[frozenset[str]] = frozenset({"weight", "temperatures", "steps"})
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("weight", (0.0, 0.3, 1.0, 5.0))
    replaces_victim: ClassVar[bool] = True

    weight: float = 1.0
    temperatures: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    steps: int = 2_000

    def __post_init__(self) -> None:
        if self.weight < 0 or self.steps < 1 or not self.temperatures or min(self.temperatures) <= 0:
            message = (
                f"weight = {self.weight} must be at least 0, steps = {self.steps} at least 1, and temperatures = "
                f"{list(self.temperatures)} one or more numbers above 0"
            )
            raise BadParameter(message)

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        network = network_like_victim(context, rng=rng)
        inputs, labels = (part.to(context.device) for part in context.training)

        def backward(chosen: Tensor) -> None:
            logits, right = network(inputs[chosen]), labels[chosen]
            alike = [information(logits / heat, right) for heat in self.temperatures]
            (cross_entropy(logits, right) + self.weight * torch.stack(alike).mean()).backward()

        for _ in descent(network, backward, rows=len(inputs), steps=self.steps, rng=rng):
            pass
        return stored(network, ANSWERING)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        return answered_by_restored(state, ANSWERING, context)


def information(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over rows of KL(p || mean p of the row's class), in nats, for logits (N, K) and labels (N,).

    This is the conditional mutual information of input and answer, given the label, in a batch.
    """
    rows, members = logits.log_softmax(dim=1), one_hot(labels, logits.shape[1]).to(logits)
    posteriors = rows.exp()
    centres = (members.T @ posteriors) / members.sum(dim=0).clamp(min=1).unsqueeze(1)
    own = centres[labels].clamp(min=torch.finfo(rows.dtype).tiny).log()
    return (posteriors * (rows - own)).sum(dim=1).mean()
