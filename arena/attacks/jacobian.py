"""Start from a few pool rows and move each along a gradient of the clone, so that queries cross its decision boundary.

Source: ``jbda`` and ``jbda-papernot``: Papernot, McDaniel, Goodfellow, Jha, Celik, Swami, "Practical Black-Box Attacks
against Machine Learning", ASIA CCS 2017, arXiv 1602.02697. ``jbda-tr`` (targeted-random): Juuti, Szyller, Marchal,
Asokan, "PRADA: Protecting Against DNN Model Stealing Attacks", EuroS&P 2019, arXiv 1805.02628.
``jbda-papernot`` is Algorithm 1 of the paper: it steps up the score of the victim's class (``direction = "gradient"``),
away from the boundary, and so do the implementations of adaptive misinformation's and MAZE's authors. ``jbda`` steps up
the loss at that class (``direction = "loss"``), towards the boundary, and so does that of prediction poisoning's
authors. It is the stronger attack here, and therefore has the plain name.
Departures: The number of rounds follows from the budget. The score is the logit, where the paper takes the posterior;
the two gradients differ by those of the other classes. If a step leads to a row that has already been queried, a fresh
row of the pool takes its place, or a random step once the pool is used up. Each round trains its clone from scratch.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.rounds import FreshClones, Unqueried
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import Attack, AttackContext, BadParameter, Need, Oracle, StopReason
from arena.learning.input_gradients import Direction, input_gradient
from arena.learning.randomness import child
from arena.learning.tensors import row_digests

REACH = 1.85
"""The small steps of targeted-random add up to this multiple of ``step``; projection keeps them within ``step``."""


@dataclass(frozen=True, kw_only=True)
class JacobianAugmentation(Attack):
    """Queries ``seeds`` rows of the pool, then moves every queried row by ``step`` in each round; inputs are in [0, 1].

    ``direction`` is what a step climbs: ``loss`` at the victim's class, or its logit, ``gradient``. ``step`` changes its
    sign every ``flip_every`` rounds. After ``doubling_rounds``, each round moves only ``reservoir`` random rows. A targeted-random step consists of ``inner_steps`` small ones. The clone of a round, of
    architecture ``arch``, is trained for ``steps_inner`` steps, the last one for ``steps`` (None: the referee's
    recipe).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})
    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"deadline"})

    mode: Literal["jbda", "targeted-random"] = "jbda"
    seeds: int = 150
    step: float = 0.1
    flip_every: int | None = None
    doubling_rounds: int | None = None
    reservoir: int = 400
    direction: Direction = "loss"
    inner_steps: int = 8
    arch: str = "auto"
    steps_inner: int = 400
    steps: int | None = None

    def __post_init__(self) -> None:
        if min(self.seeds, self.reservoir, self.inner_steps, self.flip_every or 1) < 1 or self.step <= 0:
            message = "seeds, reservoir, inner_steps and flip_every must be at least 1, and step more than 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Double the transfer set, round by round, until the budget is spent."""
        clones, choice = FreshClones(self.arch, oracle.task, context, rng=rng), child(rng)
        unqueried, transfer_set = Unqueried(context.pool, rng=choice), TransferSet(oracle)
        budget, number = oracle.remaining, 0
        transfer_set.extend(unqueried.take(self.seeds if budget >= 2 * self.seeds else max(1, budget // 2)))
        while oracle.remaining > 0 and context.time_left() > 0:
            clone, inputs, released = (
                clones.fitted(transfer_set, steps=self.steps_inner),
                transfer_set.inputs,
                transfer_set.released,
            )
            chosen = self._base(released, number, limit=oracle.remaining, rng=choice)
            stepped = self._stepped(clone, inputs[chosen], released[chosen], number, rng=choice)
            transfer_set.extend(
                _new(stepped, unqueried, queried=inputs, near=inputs[chosen], step=self.step, rng=choice)
            )
            number += 1
        return clones.fitted(transfer_set, steps=self.steps)

    def _base(self, released: Tensor, number: int, *, limit: int, rng: Generator) -> Tensor:
        """Return the indices of the rows to step from: the answered ones, if any, or a random subset if not all fit."""
        answered = (released.sum(dim=1) > 0).nonzero().squeeze(1)
        rows = answered if len(answered) else torch.arange(len(released))
        doubling = self.doubling_rounds is None or number < self.doubling_rounds
        size = min(limit, len(rows) if doubling else self.reservoir)
        return rows[torch.randperm(len(rows), generator=rng)[:size]]

    def _stepped(self, clone: nn.Module, inputs: Tensor, released: Tensor, number: int, *, rng: Generator) -> Tensor:
        classes = released.argmax(dim=1)
        if self.mode == "targeted-random":
            targets = other_classes(classes, released.shape[1], rng=rng)
            return targeted_steps(clone, inputs, targets, step=self.step, inner_steps=self.inner_steps)
        flipped = self.flip_every is not None and (number // self.flip_every) % 2 == 1
        return jacobian_step(
            clone, inputs, classes, step=-self.step if flipped else self.step, direction=self.direction
        )


def jacobian_step(
    clone: nn.Module, inputs: Tensor, classes: Tensor, *, step: float, direction: Direction = "gradient"
) -> Tensor:
    """Return clip(x + step sign(g), 0, 1) on the CPU, where g is the gradient of the logit z_c or of the loss at c."""
    return (inputs + step * input_gradient(clone, inputs, classes, direction=direction).sign()).clamp(0, 1)


def targeted_steps(clone: nn.Module, inputs: Tensor, targets: Tensor, *, step: float, inner_steps: int) -> Tensor:
    """Return inputs moved towards the classes ``targets`` (N,) by projected sign steps, at most ``step`` per pixel."""
    moved = inputs
    for _ in range(inner_steps):
        moved = moved - REACH * step / inner_steps * input_gradient(clone, moved, targets, direction="loss").sign()
        moved = torch.minimum(torch.maximum(moved, inputs - step), inputs + step).clamp(0, 1)
    return moved


def other_classes(classes: Tensor, total: int, *, rng: Generator) -> Tensor:
    """Return a different class for each class (N,), drawn uniformly from the ``total`` - 1 others."""
    return (classes + torch.randint(1, total, classes.shape, generator=rng)) % total


def _new(rows: Tensor, unqueried: Unqueried, *, queried: Tensor, near: Tensor, step: float, rng: Generator) -> Tensor:
    """Return ``rows``, with those already ``queried`` replaced by pool rows or by random steps from ``near``."""
    digests, fresh = set(row_digests(queried)), rows.clone()
    for number, digest in enumerate(row_digests(rows)):
        while digest in digests:
            if len(unqueried):
                fresh[number] = unqueried.take(1)[0]
            else:
                random = 2 * torch.rand(near[number].shape, generator=rng) - 1
                fresh[number] = (near[number] + step * random).clamp(0, 1)
            digest = row_digests(fresh[number : number + 1])[0]
        digests.add(digest)
    return fresh
