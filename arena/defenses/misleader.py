"""Answer with the mean of several students of the victim, each trained against a clone that learns from it.

Source: Cheng, Zheng, Zhu, Dong, "MISLEADER: Defending against Model Extraction with Ensembles of Distilled Models",
arXiv 2506.02362, 2025, and the authors' code.
Departures: Architectures, weights and steps are for small images. Each step of the simulated clone is on a fresh
augmented batch: the authors' code takes one step where it states several. Images are augmented by shifts and noise,
table rows by noise. With ``extractability`` 0, this is an ordinary ensemble of distilled networks, with which it must
be compared.
Published number: none on equal terms. Reproduced: formula; on small victims the second term has shown no effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from arena.contracts import Answer, BadParameter, Defense, DefenseContext, QueryBatch, Responder, State, Task
from arena.defenses.parts.defender_networks import restored, stored
from arena.learning.architectures import build
from arena.learning.distillation import LOG_FLOOR
from arena.learning.randomness import child
from arena.learning.release import released
from arena.learning.training import descent, predict

IMAGE_MEMBERS, TABLE_MEMBERS = ("small-cnn", "medium-cnn", "mlp"), ("mlp-32", "mlp-64", "mlp-128")
LARGEST_SHIFT = 2  # of an image, in pixels
NOISE = 0.1  # standard deviation, added to augmented inputs
CLONE_RATE = 3e-3
LARGEST_GRADIENT = 5.0  # its norm, for member and clone


@dataclass(frozen=True, kw_only=True)
class Misleader(Defense):
    """``architectures`` are those of the students (empty: three small ones that suit the task).

    ``extractability`` is the weight of the disagreement with the simulated clone, which takes ``inner`` steps for each
    of a member's ``steps``. A member learns the victim's answers, softened by ``temperature``, with weight ``share``,
    and the labels with the rest.
    """

    trained_by: ClassVar[frozenset[str]] = frozenset({
        "architectures", "extractability", "temperature", "share", "inner", "steps",
    })  # fmt: skip
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("extractability", (0.0, 0.01, 0.1, 0.5, 1.0))
    replaces_victim: ClassVar[bool] = True

    architectures: tuple[str, ...] = ()
    extractability: float = 0.01
    temperature: float = 4.0
    share: float = 0.3
    inner: int = 5
    steps: int = 1_000

    def __post_init__(self) -> None:
        if self.extractability < 0 or self.temperature <= 0 or not 0 <= self.share <= 1:
            message = (
                f"extractability = {self.extractability} must be at least 0, temperature = {self.temperature} more than "
                f"0, and share = {self.share} between 0 and 1"
            )
            raise BadParameter(message)
        if min(self.inner, self.steps) < 1:
            message = f"inner = {self.inner} and steps = {self.steps} must be at least 1"
            raise BadParameter(message)

    def check(self, task: Task) -> None:
        for arch in self._architectures(task):
            build(arch, task, rng=Generator())  # raises BadParameter for one that does not suit the task

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        victim = context.victim(context.training[0]).to(context.device).clamp(min=LOG_FLOOR).log()
        return {
            name: value
            for number, arch in enumerate(self._architectures(context.victim.task))
            for name, value in stored(self._member(arch, victim, context, rng=rng), _name(number)).items()
        }

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        members = [
            restored(state, _name(number), context, arch=arch)
            for number, arch in enumerate(self._architectures(context.victim.task))
        ]

        def respond(queries: QueryBatch) -> Answer:
            return released(torch.stack([predict(member, queries.inputs) for member in members]).mean(dim=0))

        return respond

    def _architectures(self, task: Task) -> tuple[str, ...]:
        return self.architectures or (IMAGE_MEMBERS if len(task.shape) == 3 else TABLE_MEMBERS)

    def _member(self, arch: str, victim: Tensor, context: DefenseContext, *, rng: Generator) -> nn.Module:
        """Train a member on the victim's log posteriors (N, K), against a clone of the same architecture."""
        member, clone = (build(arch, context.victim.task, rng=rng).to(context.device) for _ in range(2))
        inputs, labels = (part.to(context.device) for part in context.training)
        of_clone = torch.optim.Adam(clone.parameters(), lr=CLONE_RATE)
        draws = child(rng)

        def backward(chosen: Tensor) -> None:
            for _ in range(self.inner if self.extractability else 0):
                strange = augmented(inputs[chosen], rng=draws)
                with torch.no_grad():
                    taught = member(strange).softmax(dim=1)
                of_clone.zero_grad()
                cross_entropy(clone.train()(strange), taught).backward()
                nn.utils.clip_grad_norm_(clone.parameters(), LARGEST_GRADIENT)
                of_clone.step()
            loss = self._distillation(member(inputs[chosen]), victim[chosen], labels[chosen])
            if self.extractability:
                strange = augmented(inputs[chosen], rng=draws)
                with torch.no_grad():
                    guessed = clone.eval()(strange)
                loss = loss - self.extractability * divergence(member(strange), guessed)
            loss.backward()
            nn.utils.clip_grad_norm_(member.parameters(), LARGEST_GRADIENT)

        for _ in descent(member, backward, rows=len(inputs), steps=self.steps, rng=child(rng)):
            pass
        return member

    def _distillation(self, logits: Tensor, victim: Tensor, labels: Tensor) -> Tensor:
        """Return share T^2 KL(victim / T || member / T) + (1 - share) CE, as a mean over rows."""
        softened = self.temperature**2 * divergence(victim / self.temperature, logits / self.temperature)
        return self.share * softened + (1 - self.share) * cross_entropy(logits, labels)


def divergence(of: Tensor, by: Tensor) -> Tensor:
    """Return the mean over rows of KL(softmax of the first logits || softmax of the second) (N, K), in nats."""
    return kl_div(by.log_softmax(dim=1), of.log_softmax(dim=1), reduction="batchmean", log_target=True)


def augmented(inputs: Tensor, *, rng: Generator) -> Tensor:
    """Return inputs (N, *shape) in [0, 1] with noise; images (N, C, H, W) are first shifted, all alike."""
    if inputs.dim() == 4:
        shifts = torch.randint(-LARGEST_SHIFT, LARGEST_SHIFT + 1, (2,), generator=rng).tolist()
        inputs = inputs.roll(shifts, dims=(2, 3))
    noise = torch.randn(inputs.shape, generator=rng).to(inputs)
    return (inputs + NOISE * noise).clamp(0, 1)


def _name(number: int) -> str:
    return f"member-{number}"
