"""Steal without data: a generator learns inputs on which clone and victim disagree, and the clone learns their answers.

Source: ``maze``: Kariyappa, Prakash, Qureshi, "MAZE: Data-Free Model Stealing Attack Using Zeroth-Order Gradient
Estimation", CVPR 2021, arXiv 2005.03161. ``dfme``: Truong, Maini, Walls, Papernot, "Data-Free Model Extraction", CVPR
2021, arXiv 2011.14779. The victim's part of the generator's gradient is estimated by finite differences.
Departures: The defaults are for a few thousand queries on small images, where the papers use millions; the papers'
constants are fields. Each row is queried only once: the batch that MAZE reuses is stored, and both variants replay rows
from the whole transfer set. What is left of the budget after the last whole round is spent on plain samples. If the
answers are hard labels, there is no gradient to estimate, and the generator's queries train the clone instead. If the
answers do not change with the input (because they are rounded), differences are taken over ``coarse_step``.
The clone that is returned is a fresh one, trained on the whole transfer set by the referee's recipe. After so few
rounds it is better by tens of points than the clone that played them, and it costs training steps but no query. In the
papers the rounds are all of the training, as with ``steps = 0``. Facts of the result: ``loop_steps`` and
``final_steps``, the training steps of the clone that played and of the one that is returned.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.generators import generator, pixels
from arena.attacks.parts.rounds import FreshClones
from arena.attacks.parts.transfer_set import LabelledQueries, TransferSet
from arena.contracts import Attack, AttackContext, BadParameter, Oracle, StopReason
from arena.learning.architectures import build, drawn_from
from arena.learning.distillation import recipe_steps
from arena.learning.randomness import child
from arena.learning.release import looks_one_hot

Variant = Literal["maze", "dfme"]
Optimiser = Literal["adam", "sgd"]

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4  # of sgd, in both papers
MILESTONES, FALL = (
    (0.1, 0.3, 0.5),
    0.3,
)  # of the schedule "steps": after each of these shares, rates are multiplied by FALL
SMALLEST_POSTERIOR = 1e-6  # posteriors are clipped here before logits are recovered from them
STUCK_SHARE = 0.5  # if more answers than this share do not change with the input, the answers are rounded


@dataclass(frozen=True, kw_only=True)
class DataFreeExtraction(Attack):
    """Plays rounds of ``generator_steps``, ``clone_steps`` and ``replays``, each step on ``batch`` samples.

    A generator step estimates the gradient from ``directions`` finite differences of length ``step`` for each sample. A
    clone step uses fresh samples, except that MAZE's first reuses those of the generator; a replay uses stored rows.
    The generator takes ``latent`` random numbers for each sample. Clone and generator have an optimiser and a learning
    rate each, and share the ``schedule``. The clone that is returned is trained anew on the whole transfer set for
    ``steps`` (None: the referee's recipe; 0: the clone of the rounds is returned).

    The papers' values, with ``steps`` 0, are:
    - MAZE: batch 128, directions 10, latent 100, ``sgd`` for both with rates 0.1 and 1e-4, schedule ``cosine``
    - DFME: batch 256, latent 256, clone ``sgd`` with rate 0.1, generator ``adam`` with 1e-4, schedule ``steps``, no
    replays
    """

    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"budget below one round", "deadline"})

    variant: Variant = "dfme"
    batch: int = 16
    directions: int = 1
    step: float = 1e-3
    coarse_step: float = 0.1
    generator_steps: int = 1
    clone_steps: int = 5
    replays: int = 10
    latent: int = 64
    clone_optimiser: Optimiser = "adam"
    clone_rate: float = 3e-3
    generator_optimiser: Optimiser = "adam"
    generator_rate: float = 1e-3
    schedule: Literal["constant", "cosine", "steps"] = "constant"
    arch: str = "auto"
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.batch < 2 or min(self.directions, self.generator_steps, self.clone_steps, self.latent) < 1:
            message = "batch must be at least 2; directions, generator_steps, clone_steps and latent at least 1"
            raise BadParameter(message)
        rates = (self.step, self.coarse_step, self.clone_rate, self.generator_rate)
        if min(self.replays, self.steps or 0) < 0 or min(rates) <= 0:
            message = "replays and steps must be at least 0; step, coarse_step and both rates must be more than 0"
            raise BadParameter(message)

    @property
    def round_rows(self) -> int:
        """The number of queries that a round costs."""
        reused = self.variant == "maze"
        return self.batch * (self.generator_steps * (1 + self.directions) + self.clone_steps - reused)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Play as many whole rounds as the budget allows, spend the rest on samples, and train the clone on all rows.

        The pool is not used.
        """
        duel = _Duel(self, oracle, context, rng=rng)
        rounds = oracle.remaining // self.round_rows
        for number in range(rounds):
            if context.time_left() <= 0:
                break
            duel.set_rates(self.rate_factor(number / rounds))
            duel.round()
        if rounds and context.time_left() > 0:
            duel.train_clone(oracle.remaining)
        context.note("loop_steps", duel.steps)
        if self.steps == 0 or not len(duel.transfer_set) or context.time_left() <= 0:
            return duel.clone.eval()
        context.note("final_steps", self.steps or recipe_steps(len(duel.transfer_set)))
        return FreshClones(self.arch, oracle.task, context, rng=rng).fitted(duel.transfer_set, steps=self.steps)

    def rate_factor(self, progress: float) -> float:
        """Return the factor of the learning rates after a share ``progress`` of the rounds, in [0, 1)."""
        if self.schedule == "cosine":
            return (1 + math.cos(math.pi * progress)) / 2
        return FALL ** sum(progress >= milestone for milestone in MILESTONES) if self.schedule == "steps" else 1.0


class _Duel:
    """The clone and the generator of one match, which train against each other on the transfer set."""

    def __init__(self, attack: DataFreeExtraction, oracle: Oracle, context: AttackContext, *, rng: Generator) -> None:
        self._attack, self._device, self._shape = attack, context.device, oracle.task.shape
        self.transfer_set = TransferSet(oracle)
        self.clone = build(attack.arch, oracle.task, rng=rng).to(context.device)
        with drawn_from(rng):
            self._generator = generator(oracle.task, attack.latent).to(context.device)
        self._clone_optimiser = _optimiser(attack.clone_optimiser, self.clone)
        self._generator_optimiser = _optimiser(attack.generator_optimiser, self._generator)
        self._rng = child(rng)
        self._step = attack.step
        self.steps = 0  # that the clone has been trained for

    def set_rates(self, rate_factor: float) -> None:
        self._clone_optimiser.param_groups[0]["lr"] = rate_factor * self._attack.clone_rate
        self._generator_optimiser.param_groups[0]["lr"] = rate_factor * self._attack.generator_rate

    def round(self) -> None:
        attack = self._attack
        fresh = attack.round_rows // attack.batch
        if not looks_one_hot(self.transfer_set.answered()[1]):
            for _ in range(attack.generator_steps):
                inputs, rows = self._train_generator()
            fresh = attack.clone_steps
            if attack.variant == "maze":
                self._learn(inputs, rows)
                fresh -= 1
        for _ in range(fresh):
            self.train_clone(attack.batch)
        for _ in range(attack.replays):
            chosen = torch.randint(len(self.transfer_set), (attack.batch,), generator=self._rng)
            self._learn(self.transfer_set.inputs[chosen], self.transfer_set.released[chosen])

    def train_clone(self, rows: int) -> None:
        """Query ``rows`` new samples, if any, and take one step of the clone on them."""
        if rows:
            with torch.no_grad():
                samples = [self._sampled() for _ in range(0, rows, self._attack.batch)]
            inputs = pixels(torch.cat(samples).cpu())[:rows]
            self._learn(inputs, self.transfer_set.extend(inputs))

    def _train_generator(self) -> LabelledQueries:
        """Take one step of the generator towards disagreement, and return its samples with their released rows."""
        count, per_sample = self._attack.batch, self._attack.directions
        samples = self._sampled()
        directions = torch.randn(count, per_sample, samples[0].numel(), generator=self._rng)
        directions = directions / directions.norm(dim=2, keepdim=True)
        displaced = samples.detach().cpu().unsqueeze(1) + self._step * directions.reshape(
            count, per_sample, *self._shape
        )
        inputs = pixels(torch.cat([samples.detach().cpu().unsqueeze(1), displaced], dim=1)).flatten(0, 1)
        rows = self.transfer_set.extend(inputs)
        self.clone.eval()
        with torch.no_grad():
            logits = self.clone(inputs.to(self._device)).cpu()
        losses = disagreement(logits.double(), rows.double(), variant=self._attack.variant).reshape(
            count, per_sample + 1
        )
        answered = (rows.sum(dim=1) > 0).reshape(count, per_sample + 1)
        losses = torch.where(answered & answered[:, :1], losses, losses[:, :1])
        gradient = sphere_gradient(losses, directions, step=self._step).reshape(samples.shape) / count
        self._generator_optimiser.zero_grad()
        samples.backward(-gradient.to(samples))
        self._generator_optimiser.step()
        by_sample = rows.reshape(count, per_sample + 1, -1)
        if float((by_sample[:, 1:] == by_sample[:, :1]).all(dim=2).float().mean()) > STUCK_SHARE:
            self._step = self._attack.coarse_step
        return LabelledQueries(inputs[:: per_sample + 1], rows[:: per_sample + 1])

    def _sampled(self) -> Tensor:
        """Return samples of the generator (batch, *shape), before the output activation."""
        latent = torch.randn(self._attack.batch, self._attack.latent, generator=self._rng).to(self._device)
        samples: Tensor = self._generator(latent)
        return samples

    def _learn(self, inputs: Tensor, rows: Tensor) -> None:
        """Take one step of the clone on the rows that were answered, leaving out refused ones."""
        self.clone.train()
        rows = rows.to(self._device)
        answered = (rows.sum(dim=1) > 0).float()
        losses = disagreement(self.clone(inputs.to(self._device)), rows, variant=self._attack.variant)
        self.steps += 1
        self._clone_optimiser.zero_grad()
        ((losses * answered).sum() / answered.sum().clamp(min=1)).backward()
        self._clone_optimiser.step()


def disagreement(logits: Tensor, rows: Tensor, *, variant: Variant) -> Tensor:
    """Return how far the clone's logits (N, K) are from the released rows (N, K), as (N,).

    MAZE: KL(row || softmax of the logits) in nats. DFME: the mean over classes of |logit - recovered logit|, where the
    recovered logit is log y - mean log y with y clipped to at least 1e-6.
    """
    if variant == "maze":
        return (torch.xlogy(rows, rows) - rows * logits.log_softmax(dim=1)).sum(dim=1)
    recovered = rows.clamp(min=SMALLEST_POSTERIOR).log()
    return (logits - (recovered - recovered.mean(dim=1, keepdim=True))).abs().mean(dim=1)


def sphere_gradient(losses: Tensor, directions: Tensor, *, step: float) -> Tensor:
    """Estimate the gradients (N, D) from losses (N, 1 + m), at N points and at ``step`` along m directions from each.

    The estimate is D / m sum_i (l_i - l_0) / step u_i for unit vectors u (N, m, D); the factor D makes it unbiased if
    the directions are uniform.
    """
    differences = (losses[:, 1:] - losses[:, :1]) / step
    _, per_sample, columns = directions.shape
    return columns / per_sample * (differences.unsqueeze(2) * directions).sum(dim=1)


def _optimiser(name: Optimiser, network: nn.Module) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(network.parameters())
    return torch.optim.SGD(network.parameters(), momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
