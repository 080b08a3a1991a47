"""Steal without data: a generator learns to make inputs on which clone and victim disagree, and the clone learns them.

Source: ``maze``: Kariyappa, Prakash, Qureshi, "MAZE: Data-Free Model Stealing Attack Using Zeroth-Order Gradient
Estimation", CVPR 2021, arXiv 2005.03161. ``dfme``: Truong, Maini, Walls, Papernot, "Data-Free Model Extraction", CVPR
2021, arXiv 2011.14779. The victim's part of the generator's gradient comes from finite differences.
Departures: the defaults are for some thousand rows on small images, where the papers have millions; their constants
are fields. Every row is bought once: MAZE's reused batch is stored, and both variants replay from all that was
bought. What is left of the budget after the last whole round buys plain samples. Where answers are labels there is no
gradient to estimate, and the generator's rows train the clone. Where answers do not move with the input (rounding),
differences are taken over ``coarse_step``.
Published number: none at equal terms. Reproduced: formula.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import Attack, AttackContext, BadParameter, Oracle, StopReason, Task
from arena.learning.architectures import build, drawn_from
from arena.learning.randomness import child
from arena.learning.release import looks_one_hot

Variant = Literal["maze", "dfme"]
Optimiser = Literal["adam", "sgd"]

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4  # of sgd, in both papers
MILESTONES, FALL = (0.1, 0.3, 0.5), 0.3  # of the schedule "steps": parts of the rounds, and by how much rates fall
CHANNELS = 64  # of the generator
SMALLEST_POSTERIOR = 1e-6  # where logits are recovered
STUCK_SHARE = 0.5  # of answers that did not move with their input: they are coarse


@dataclass(frozen=True, kw_only=True)
class DataFreeExtraction(Attack):
    """One round: ``generator_steps`` with ``directions`` differences of length ``step`` for each of ``batch`` samples.

    Then ``clone_steps`` on samples, of which MAZE's first are those of the generator, and ``replays`` of stored rows.
    ``latent`` numbers make a sample; optimisers, rates and schedule are those of the clone and of the generator.
    MAZE's paper: batch 128, directions 10, latent 100, both ``sgd``, 0.1 and 1e-4, ``cosine``. DFME's: batch 256,
    latent 256, clone ``sgd`` 0.1, generator ``adam`` 1e-4, ``steps``, no replays.
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

    def __post_init__(self) -> None:
        if self.batch < 2 or min(self.directions, self.generator_steps, self.clone_steps, self.latent) < 1:
            message = "batch is at least 2; directions, generator_steps, clone_steps and latent are at least 1"
            raise BadParameter(message)
        if self.replays < 0 or min(self.step, self.coarse_step, self.clone_rate, self.generator_rate) <= 0:
            message = "replays is not below 0; step, coarse_step and both rates are more than 0"
            raise BadParameter(message)

    @property
    def round_rows(self) -> int:
        """What a round costs."""
        reused = self.variant == "maze"
        return self.batch * (self.generator_steps * (1 + self.directions) + self.clone_steps - reused)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Play as many whole rounds as the budget has, and spend what is left on samples; the pool is not looked at."""
        duel = _Duel(self, oracle, context, rng=rng)
        rounds = oracle.remaining // self.round_rows
        for number in range(rounds):
            if context.time_left() <= 0:
                break
            duel.set_rates(self.falling(number / rounds))
            duel.round()
        if rounds and context.time_left() > 0:
            duel.train_clone(oracle.remaining)
        return duel.clone.eval()

    def falling(self, progress: float) -> float:
        """Return by how much the rates have fallen at a part of the rounds in [0, 1)."""
        if self.schedule == "cosine":
            return (1 + math.cos(math.pi * progress)) / 2
        return FALL ** sum(progress >= milestone for milestone in MILESTONES) if self.schedule == "steps" else 1.0


class _Duel:
    """Clone and generator of one match, against each other over all that was bought."""

    def __init__(self, attack: DataFreeExtraction, oracle: Oracle, context: AttackContext, *, rng: Generator) -> None:
        self._attack, self._device, self._shape = attack, context.device, oracle.task.shape
        self._bought = TransferSet(oracle)
        self.clone = build(attack.arch, oracle.task, rng=rng).to(context.device)
        with drawn_from(rng):
            self._generator = generator(oracle.task, attack.latent).to(context.device)
        self._of_clone = _optimiser(attack.clone_optimiser, self.clone)
        self._of_generator = _optimiser(attack.generator_optimiser, self._generator)
        self._rng = child(rng)
        self._step = attack.step

    def set_rates(self, falling: float) -> None:
        self._of_clone.param_groups[0]["lr"] = falling * self._attack.clone_rate
        self._of_generator.param_groups[0]["lr"] = falling * self._attack.generator_rate

    def round(self) -> None:
        attack = self._attack
        fresh = attack.round_rows // attack.batch
        if not looks_one_hot(self._bought.answered()[1]):
            for _ in range(attack.generator_steps):
                inputs, rows = self._train_generator()
            fresh = attack.clone_steps
            if attack.variant == "maze":
                self._learn(inputs, rows)
                fresh -= 1
        for _ in range(fresh):
            self.train_clone(attack.batch)
        for _ in range(attack.replays):
            chosen = torch.randint(len(self._bought), (attack.batch,), generator=self._rng)
            self._learn(self._bought.inputs[chosen], self._bought.released[chosen])

    def train_clone(self, rows: int) -> None:
        """Take one step of the clone on new samples, if any."""
        if rows:
            with torch.no_grad():
                samples = [self._sampled() for _ in range(0, rows, self._attack.batch)]
            inputs = pixels(torch.cat(samples).cpu())[:rows]
            self._learn(inputs, self._bought.ask(inputs))

    def _train_generator(self) -> tuple[Tensor, Tensor]:
        """Take one step of the generator towards disagreement, and return the samples with their released rows."""
        count, many = self._attack.batch, self._attack.directions
        made = self._sampled()
        directions = torch.randn(count, many, made[0].numel(), generator=self._rng)
        directions = directions / directions.norm(dim=2, keepdim=True)
        moved = made.detach().cpu().unsqueeze(1) + self._step * directions.reshape(count, many, *self._shape)
        inputs = pixels(torch.cat([made.detach().cpu().unsqueeze(1), moved], dim=1)).flatten(0, 1)
        rows = self._bought.ask(inputs)
        self.clone.eval()
        with torch.no_grad():
            logits = self.clone(inputs.to(self._device)).cpu()
        losses = disagreement(logits.double(), rows.double(), variant=self._attack.variant).reshape(count, many + 1)
        heard = (rows.sum(dim=1) > 0).reshape(count, many + 1)
        losses = torch.where(heard & heard[:, :1], losses, losses[:, :1])
        gradient = sphere_gradient(losses, directions, step=self._step).reshape(made.shape) / count
        self._of_generator.zero_grad()
        made.backward(-gradient.to(made))
        self._of_generator.step()
        by_sample = rows.reshape(count, many + 1, -1)
        if float((by_sample[:, 1:] == by_sample[:, :1]).all(dim=2).float().mean()) > STUCK_SHARE:
            self._step = self._attack.coarse_step
        return inputs[:: many + 1], rows[:: many + 1]

    def _sampled(self) -> Tensor:
        """Return samples of the generator before the activation, (batch, *shape)."""
        latent = torch.randn(self._attack.batch, self._attack.latent, generator=self._rng).to(self._device)
        samples: Tensor = self._generator(latent)
        return samples

    def _learn(self, inputs: Tensor, rows: Tensor) -> None:
        """Take one step of the clone on answered rows; refused ones drop out."""
        self.clone.train()
        rows = rows.to(self._device)
        heard = (rows.sum(dim=1) > 0).float()
        losses = disagreement(self.clone(inputs.to(self._device)), rows, variant=self._attack.variant)
        self._of_clone.zero_grad()
        ((losses * heard).sum() / heard.sum().clamp(min=1)).backward()
        self._of_clone.step()


def disagreement(logits: Tensor, rows: Tensor, *, variant: Variant) -> Tensor:
    """Return how far logits (N, K) of the clone are from released rows (N, K), (N,).

    MAZE: KL(row || softmax of the logits) in nats. DFME: the mean over classes of |logit - recovered logit|, which is
    log y - mean log y, y at least 1e-6.
    """
    if variant == "maze":
        return (torch.xlogy(rows, rows) - rows * logits.log_softmax(dim=1)).sum(dim=1)
    recovered = rows.clamp(min=SMALLEST_POSTERIOR).log()
    return (logits - (recovered - recovered.mean(dim=1, keepdim=True))).abs().mean(dim=1)


def sphere_gradient(losses: Tensor, directions: Tensor, *, step: float) -> Tensor:
    """Return the estimated gradients (N, D) of losses (N, 1 + m): at N points and at ``step`` along m directions.

    D / m sum_i (l_i - l_0) / step u_i for unit vectors u (N, m, D): D makes it unbiased for uniform directions.
    """
    differences = (losses[:, 1:] - losses[:, :1]) / step
    _, many, columns = directions.shape
    return columns / many * (differences.unsqueeze(2) * directions).sum(dim=1)


def pixels(samples: Tensor) -> Tensor:
    """Return inputs in [0, 1] for samples before the activation."""
    return (samples.tanh() + 1) / 2


def generator(task: Task, latent: int) -> nn.Module:
    """Return a network from (N, latent) to samples before the activation (N, *shape), each feature normalised."""
    if len(task.shape) == 1:
        columns = task.shape[0]
        return nn.Sequential(
            nn.Linear(latent, CHANNELS),
            nn.BatchNorm1d(CHANNELS),
            nn.LeakyReLU(0.2),
            nn.Linear(CHANNELS, columns),
            nn.BatchNorm1d(columns, affine=False),
        )
    channels, height, width = task.shape
    half, quarter = ((math.ceil(height / part), math.ceil(width / part)) for part in (2, 4))
    return nn.Sequential(
        nn.Linear(latent, CHANNELS * math.prod(quarter)),
        nn.Unflatten(1, (CHANNELS, *quarter)),
        nn.BatchNorm2d(CHANNELS),
        nn.Upsample(half),
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        nn.BatchNorm2d(CHANNELS),
        nn.LeakyReLU(0.2),
        nn.Upsample((height, width)),
        nn.Conv2d(CHANNELS, channels, 3, padding=1),
        nn.BatchNorm2d(channels, affine=False),
    )


def _optimiser(name: Optimiser, network: nn.Module) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(network.parameters())
    return torch.optim.SGD(network.parameters(), momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
