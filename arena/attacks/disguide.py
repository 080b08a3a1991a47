"""Steal without data: a generator learns inputs on which two clones disagree, and both learn the victim's answers.

Where two clones disagree, at least one is wrong. The generator learns by gradients through the clones, so that no query
is spent on its training, and answers that are labels only are no special case.
Source: Rosenthal, Enouen, Pham, Tan, "DisGUIDE: Disagreement-Guided Data-Free Model Extraction", AAAI 2023; constants
from the authors' code. ``dual-students``, without the term for balanced classes, is Beetham, Kardan, Mian, Shah, "Dual
Student Networks for Data-Free Model Stealing", ICLR 2023, arXiv 2309.10058: the L1 distance of two clones is a multiple
of their deviation, and the generator's optimiser does not change with a factor.
Departures: The defaults are for a few thousand queries on small images, where the papers use millions; the papers'
constants are fields. The clones learn by soft cross entropy from posteriors and labels alike. The clone that is
returned is a fresh one, trained on the whole transfer set by the referee's recipe. Facts of the result: ``loop_steps``
and ``final_steps``, as of ``dfme``.
Published number: none on equal terms. Reproduced: formula, and the direction on images of 28 x 28.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.generators import generator, pixels
from arena.attacks.parts.rounds import FreshClones
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import Attack, AttackContext, BadParameter, Oracle, StopReason
from arena.learning.architectures import build, drawn_from
from arena.learning.distillation import recipe_steps
from arena.learning.randomness import child

CLONES = 2
SMALLEST_MEAN = 1e-6  # is added to mean posteriors before their logarithm is taken
_SMALLEST_BATCH = 2  # which batch normalisation can normalise


@dataclass(frozen=True, kw_only=True)
class DisGuide(Attack):
    """Each round trains the generator for ``generator_steps`` and queries ``batch`` of its samples.

    Both clones take a step on the samples and ``replays`` steps on ``replayed`` rows each of the transfer set, by Adam
    with ``clone_rate``. The generator takes ``latent`` random numbers for each sample; it learns by Adam with
    ``generator_rate`` to make the clones disagree, and to spread samples over the classes with weight ``balance``. With
    ``generator_steps`` 0 it stays as it was drawn, which is the control. The clone that is returned is trained anew on
    the whole transfer set for ``steps`` (None: the referee's recipe; 0: the first clone of the rounds is returned).

    The paper's values, with ``steps`` 0, are: batch 256, replays 3, replayed 256, latent 256, balance 0.2 for 10
    classes and 0.04 for 100, and other optimisers.
    """

    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"deadline"})

    batch: int = 32
    generator_steps: int = 1
    replays: int = 6
    replayed: int = 64
    latent: int = 64
    balance: float = 0.2
    clone_rate: float = 3e-3
    generator_rate: float = 1e-3
    arch: str = "auto"
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.batch < _SMALLEST_BATCH or min(self.replayed, self.latent) < 1:
            message = f"batch must be at least {_SMALLEST_BATCH}; replayed and latent at least 1"
            raise BadParameter(message)
        if min(self.generator_steps, self.replays, self.balance, self.steps or 0) < 0:
            message = "generator_steps, replays, balance and steps must be at least 0"
            raise BadParameter(message)
        if min(self.clone_rate, self.generator_rate) <= 0:
            message = "both rates must be more than 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Play rounds until the budget is spent, and train the clone on all rows. The pool is not used."""
        students = _Students(self, oracle, context, rng=rng)
        while oracle.remaining and context.time_left() > 0:
            students.round(min(self.batch, oracle.remaining))
        context.note("loop_steps", students.steps)
        if self.steps == 0 or context.time_left() <= 0:
            return students.clones[0].eval()
        context.note("final_steps", self.steps or recipe_steps(len(students.transfer_set)))
        return FreshClones(self.arch, oracle.task, context, rng=rng).fitted(students.transfer_set, steps=self.steps)


class _Students:
    """The clones and the generator of one match."""

    def __init__(self, attack: DisGuide, oracle: Oracle, context: AttackContext, *, rng: Generator) -> None:
        self._attack, self._device = attack, context.device
        self.transfer_set = TransferSet(oracle)
        self.clones = [build(attack.arch, oracle.task, rng=rng).to(context.device) for _ in range(CLONES)]
        with drawn_from(rng):
            self._generator = generator(oracle.task, attack.latent).to(context.device)
        weights = [weight for clone in self.clones for weight in clone.parameters()]
        self._clone_optimiser = torch.optim.Adam(weights, lr=attack.clone_rate)
        self._generator_optimiser = torch.optim.Adam(self._generator.parameters(), lr=attack.generator_rate)
        self._rng = child(rng)
        self.steps = 0  # that the clones have been trained for, together

    def round(self, rows: int) -> None:
        for _ in range(self._attack.generator_steps):
            self._train_generator()
        with torch.no_grad():
            inputs = self._sampled(max(rows, _SMALLEST_BATCH))[:rows].cpu()
        self._learn(inputs, self.transfer_set.extend(inputs))
        for _ in range(self._attack.replays):
            chosen = torch.randint(len(self.transfer_set), (self._attack.replayed,), generator=self._rng)
            self._learn(self.transfer_set.inputs[chosen], self.transfer_set.released[chosen])

    def _train_generator(self) -> None:
        inputs = self._sampled(self._attack.batch)
        posteriors = torch.stack([clone.eval()(inputs).softmax(dim=1) for clone in self.clones])
        self._generator_optimiser.zero_grad()
        (self._attack.balance * negative_balance(posteriors) - disagreement(posteriors)).backward()
        self._generator_optimiser.step()

    def _sampled(self, rows: int) -> Tensor:
        latent = torch.randn(rows, self._attack.latent, generator=self._rng).to(self._device)
        return pixels(self._generator(latent))

    def _learn(self, inputs: Tensor, released: Tensor) -> None:
        """Take one step of each clone on the rows that were answered, leaving out refused ones."""
        inputs, released = inputs.to(self._device), released.to(self._device)
        answered = (released.sum(dim=1) > 0).sum().clamp(min=1)
        losses = [-(released * clone.train()(inputs).log_softmax(dim=1)).sum() / answered for clone in self.clones]
        self.steps += CLONES
        self._clone_optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        self._clone_optimiser.step()


def disagreement(posteriors: Tensor) -> Tensor:
    """Return the standard deviation over clones of posteriors (clones, N, K), as a mean over rows and classes.

    For two clones this is the mean of |p_1 - p_2| / sqrt 2.
    """
    return posteriors.std(dim=0).mean()


def negative_balance(posteriors: Tensor) -> Tensor:
    """Return sum_k m_k log m_k, in nats, of the mean posterior m over clones and rows (clones, N, K).

    It is the smallest, -log K, if every class is equally likely among all samples.
    """
    mean = posteriors.mean(dim=(0, 1)) + SMALLEST_MEAN
    return (mean * mean.log()).sum()
