"""Replace the victim by a nasty teacher: it decides alike, and its softened answers contradict an ordinary network's.

Source: Ma, Chen, Hu, You, Xie, Wang, "Undistillable: Making A Nasty Teacher That CANNOT teach students", ICLR 2021,
arXiv 2105.07381; loss and constants from the authors' code.
Departures: Steps are counted instead of epochs. The adversary is the victim itself, which is the ordinary network that
the paper would train for it. The second term has no lower bound, so a large weight costs the model its accuracy.
Published number: none on equal terms: students of the paper also see true labels, and an attacker does not. Reproduced:
formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from arena.contracts import BadParameter, Defense, DefenseContext, Responder, State
from arena.defenses.parts.defender_networks import answered_by_restored, network_like_victim, stored
from arena.learning.distillation import LOG_FLOOR
from arena.learning.training import descent

ANSWERING = "answering"


@dataclass(frozen=True, kw_only=True)
class NastyTeacher(Defense):
    """``weight`` is that of the contradiction, whose answers are softened by ``temperature``; it trains for ``steps``."""

    trained_by: ClassVar[frozenset[str]] = frozenset({"weight", "temperature", "steps"})
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("weight", (0.0, 0.005, 0.01, 0.02, 0.04))
    replaces_victim: ClassVar[bool] = True

    weight: float = 0.01
    temperature: float = 4.0
    steps: int = 2_000

    def __post_init__(self) -> None:
        if self.weight < 0 or self.temperature <= 0 or self.steps < 1:
            message = (
                f"weight = {self.weight} must be at least 0, temperature = {self.temperature} more than 0, and "
                f"steps = {self.steps} at least 1"
            )
            raise BadParameter(message)

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        network = network_like_victim(context, rng=rng)
        inputs, labels = (part.to(context.device) for part in context.training)
        ordinary = context.victim(context.training[0]).to(context.device).clamp(min=LOG_FLOOR).log()

        def backward(chosen: Tensor) -> None:
            rows, contradicted, right = network(inputs[chosen]), ordinary[chosen], labels[chosen]
            nasty_loss(rows, contradicted, right, weight=self.weight, temperature=self.temperature).backward()

        for _ in descent(network, backward, rows=len(inputs), steps=self.steps, rng=rng):
            pass
        return stored(network, ANSWERING)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        return answered_by_restored(state, ANSWERING, context)


def nasty_loss(logits: Tensor, ordinary: Tensor, labels: Tensor, *, weight: float, temperature: float) -> Tensor:
    """Return CE(f, y) - weight T^2 KL(softmax(f / T) || softmax(g / T)), in nats, as a mean over rows.

    f are ``logits`` (N, K), g those of the ``ordinary`` network up to a constant a row, and T the temperature.
    """
    own, others = ((values / temperature).log_softmax(dim=1) for values in (logits, ordinary))
    divergence = (own.exp() * (own - others)).sum(dim=1).mean()
    return cross_entropy(logits, labels) - weight * temperature**2 * divergence
