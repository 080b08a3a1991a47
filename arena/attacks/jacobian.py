"""Start from a few pool rows and step each along a gradient of the clone, so that queries cross its boundaries.

Source: ``jbda``: Papernot, McDaniel, Goodfellow, Jha, Celik, Swami, "Practical Black-Box Attacks against Machine
Learning", ASIA CCS 2017, arXiv 1602.02697. ``jbda-tr`` (targeted-random): Juuti, Szyller, Marchal, Asokan, "PRADA:
Protecting Against DNN Model Stealing Attacks", EuroS&P 2019, arXiv 1805.02628.
Departures: the number of rounds follows from the budget. Papernot steps along the gradient of the predicted class's
score (``direction = "gradient"``); the default ``"loss"``, which later code has, along that of the loss, whose sign
is the opposite for log p but not for the logit. A step that leads to a row that was asked before is replaced by an
unasked row of the pool, and by a random step once there is none. Inner clones start anew each round.
Published number: none at equal terms. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.rounds import FreshClones, Unasked
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import Attack, AttackContext, BadParameter, Need, Oracle, StopReason
from arena.learning.input_gradients import Direction, input_gradient
from arena.learning.randomness import child
from arena.learning.tensors import row_digests

REACH = 1.85
"""The small steps of targeted-random add up to this many times ``step``; the projection keeps them within one."""


@dataclass(frozen=True, kw_only=True)
class JacobianAugmentation(Attack):
    """Pixel units are those of [0, 1].

    ``step`` turns round every ``flip_every`` rounds; after ``doubling_rounds`` only ``reservoir`` random rows are
    stepped from. ``inner_steps`` are the small steps of targeted-random, ``steps_inner`` the training steps of the
    inner clones, ``steps`` those of the last one (None: the referee's recipe).
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
            message = "seeds, reservoir, inner_steps and flip_every are at least 1, and step is more than 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Double what was asked, round by round, until the budget is spent."""
        clones, choice = FreshClones(self.arch, oracle.task, context, rng=rng), child(rng)
        unasked, bought = Unasked(context.pool, rng=choice), TransferSet(oracle)
        budget, number = oracle.remaining, 0
        bought.ask(unasked.take(self.seeds if budget >= 2 * self.seeds else max(1, budget // 2)))
        while oracle.remaining > 0 and context.time_left() > 0:
            clone, inputs, released = clones.fitted(bought, steps=self.steps_inner), bought.inputs, bought.released
            chosen = self._base(released, number, limit=oracle.remaining, rng=choice)
            stepped = self._stepped(clone, inputs[chosen], released[chosen], number, rng=choice)
            bought.ask(_new(stepped, unasked, asked=inputs, near=inputs[chosen], step=self.step, rng=choice))
            number += 1
        return clones.fitted(bought, steps=self.steps)

    def _base(self, released: Tensor, number: int, *, limit: int, rng: Generator) -> Tensor:
        """Return indices of the rows to step from: answered ones, if any; a random subset where not all fit."""
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
        turned = self.flip_every is not None and (number // self.flip_every) % 2 == 1
        return jacobian_step(clone, inputs, classes, step=-self.step if turned else self.step, direction=self.direction)


def jacobian_step(
    clone: nn.Module, inputs: Tensor, classes: Tensor, *, step: float, direction: Direction = "gradient"
) -> Tensor:
    """Return clip(x + step sign(g), 0, 1) on the CPU; g is the gradient of the logit z_c, or of the loss at c."""
    return (inputs + step * input_gradient(clone, inputs, classes, direction=direction).sign()).clamp(0, 1)


def targeted_steps(clone: nn.Module, inputs: Tensor, targets: Tensor, *, step: float, inner_steps: int) -> Tensor:
    """Return inputs moved towards ``targets`` (N,) by projected sign steps, within ``step`` of each pixel."""
    moved = inputs
    for _ in range(inner_steps):
        moved = moved - REACH * step / inner_steps * input_gradient(clone, moved, targets, direction="loss").sign()
        moved = torch.minimum(torch.maximum(moved, inputs - step), inputs + step).clamp(0, 1)
    return moved


def other_classes(classes: Tensor, total: int, *, rng: Generator) -> Tensor:
    """Return for each class (N,) another one, uniformly over the ``total`` - 1 others."""
    return (classes + torch.randint(1, total, classes.shape, generator=rng)) % total


def _new(rows: Tensor, unasked: Unasked, *, asked: Tensor, near: Tensor, step: float, rng: Generator) -> Tensor:
    """Return ``rows``, those in ``asked`` replaced by the pool's next, or by a random step from ``near``."""
    known, fresh = set(row_digests(asked)), rows.clone()
    for number, digest in enumerate(row_digests(rows)):
        while digest in known:
            if len(unasked):
                fresh[number] = unasked.take(1)[0]
            else:
                random = 2 * torch.rand(near[number].shape, generator=rng) - 1
                fresh[number] = (near[number] + step * random).clamp(0, 1)
            digest = row_digests(fresh[number : number + 1])[0]
        known.add(digest)
    return fresh
