"""Recover what a defense bent: guess the defense, run it on networks of one's own, and learn to undo it from them.

Shared by the attacks that differ in how they undo. The rows of an attacker's own networks are what its guess at clean
rows is worth: no clean row of the victim is ever seen.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.oracle_views import AttackWrapper, TransformedOracle
from arena.attacks.parts.simulation import SimulatedDefense, simulable
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import AttackContext, BadParameter, Defense, Need, Oracle, Task
from arena.learning.architectures import build
from arena.learning.distillation import distil
from arena.learning.randomness import child
from arena.learning.release import entropy, keep_argmax
from arena.learning.training import fit, hardened, predict

Restore = Callable[[Tensor], Tensor]
"""Released rows (N, K) to what the clean ones probably were."""

ENTROPY_BINS = 10
ARGMAX_KEPT = 0.95  # of the shadows' rows: a defense that hardly ever moves the argmax is not undone across it
TOLD_BY = 1_000  # rows of the shadows by which each guess is looked at
_TIED = 1e-7  # neighbours in a sorted row that differ by less


@dataclass(frozen=True, kw_only=True)
class RecoveryAttack(AttackWrapper):
    """``share`` of the budget buys random rows of the pool, which show what the defense does; ``base`` has the rest.

    ``shadows`` networks of ``arch``, trained on the labels of those rows for ``steps_inner`` steps, answer
    ``shadow_rows`` unasked rows each. Of the ``guesses`` that defense is undone which makes of their answers what looks
    most like the victim's: at most ``closer`` times as far from it as they look themselves, else none. An informed
    attack need not guess. All shadows but the last show how to undo it, and the last whether that helps. The clone of
    the base is trained on by ``steps`` (None: the referee's recipe) with all rows, recovered.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})

    guesses: tuple[Defense, ...] = ()
    share: float = 0.2
    shadows: int = 3
    shadow_rows: int = 5_000
    closer: float = 0.8
    arch: str = "auto"
    steps_inner: int = 150
    steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share < 1 or not 0 < self.closer <= 1 or self.shadows < 2 or self.shadow_rows < 1:
            message = f"share = {self.share} lies in [0, 1), closer = {self.closer} in (0, 1], "
            message += "shadows is at least 2 and shadow_rows at least 1"
            raise BadParameter(message)

    @abstractmethod
    def undoing(self, defended: Tensor, clean: Tensor, context: AttackContext, *, rng: Generator) -> Restore:
        """Return what leads from rows like ``defended`` (N, K) back to rows like ``clean`` (N, K)."""

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """See what the defense does, let ``base`` play on recovered answers, and train on with all of them."""
        spare = oracle.remaining - self.base.min_budget(oracle.task)
        size = min(int(self.share * oracle.remaining), int(self.share * len(context.pool)), spare)
        if size == 0:
            return self.base.extract(oracle, context, rng=rng)
        own = child(rng)
        pool = context.pool[torch.randperm(len(context.pool), generator=own)]
        bought = TransferSet(oracle)
        bought.ask(pool[:size])
        context = replace(context, pool=pool[size:])
        restore = self._restore(bought, context, rng=own)
        clone = self.base.extract(TransformedOracle(oracle=bought, transform=restore), context, rng=rng)
        inputs, released = bought.answered()
        return distil(clone, inputs, restore(released), rng=own, steps=self.steps, time_left=context.time_left)

    def _restore(self, bought: TransferSet, context: AttackContext, *, rng: Generator) -> Restore:
        """Return what undoes the defense that the rows bought so far show; they stay as they are if it is none."""
        inputs, released = bought.answered()
        known = context.simulated
        guesses = [one for one in ((known,) if known is not None else self.guesses) if simulable(one)]
        if not len(inputs) or not guesses:
            return _unchanged
        unasked = context.pool[: self.shadow_rows]
        clean = torch.cat([self._shadow_rows(inputs, released, unasked, context, rng=rng) for _ in range(self.shadows)])
        asked = torch.cat([unasked] * self.shadows)
        few = torch.randperm(len(clean), generator=rng)[:TOLD_BY]
        simulated = [SimulatedDefense(one, bought.task, on=context.device, rng=rng) for one in guesses]
        best = told([one(asked[few], clean[few]) for one in simulated], clean[few], released, closer=self.closer)
        if best is None and known is None:
            return _unchanged
        defended = simulated[best or 0](asked, clean)  # the one that is known, whatever it looks like
        if torch.equal(defended, clean):
            return _unchanged
        undo = self.undoing(defended[: -len(unasked)], clean[: -len(unasked)], context, rng=rng)
        kept = float((defended.argmax(dim=1) == clean.argmax(dim=1)).float().mean()) >= ARGMAX_KEPT
        restore = partial(_within_argmax, undo) if kept else undo
        defended, clean = defended[-len(unasked) :][:TOLD_BY], clean[-len(unasked) :][:TOLD_BY]
        return restore if distance(restore(defended), clean) < distance(defended, clean) else _unchanged

    def _shadow_rows(
        self, inputs: Tensor, released: Tensor, unasked: Tensor, context: AttackContext, *, rng: Generator
    ) -> Tensor:
        """Return what a new network that was trained on the labels of the released rows answers to the unasked ones."""
        shadow = build(self.arch, Task(shape=tuple(inputs.shape[1:]), classes=released.shape[1]), rng=rng)
        shadow.to(context.device)
        fit(shadow, inputs, hardened(released), steps=self.steps_inner, rng=child(rng), time_left=context.time_left)
        return predict(shadow, unasked)


def told(releases: Sequence[Tensor], clean: Tensor, released: Tensor, *, closer: float) -> int | None:
    """Return the number of the releases (N, K) that look most like the released rows (M, K).

    None if it is not nearer than ``closer`` times the distance of the clean rows (N, K), which then look like enough.
    """
    distances = [unlikeness(one, released) for one in releases]
    nearest = min(range(len(releases)), key=distances.__getitem__)
    return nearest if distances[nearest] <= closer * unlikeness(clean, released) else None


def unlikeness(rows: Tensor, others: Tensor) -> float:
    """Return the L1 distance between the looks of two sets of rows (N, K) and (M, K); 0 for equal sets."""
    return float((looks(rows) - looks(others)).abs().sum())


def looks(rows: Tensor) -> Tensor:
    """Return what rows (N, K) look like, (K + 11,): the mean sorted row, shares of entropies in tenths, share of ties."""
    ordered = rows.sort(dim=1, descending=True).values
    unsure = (entropy(rows) / math.log(rows.shape[1])).clamp(0, 1)
    tenths = torch.histc(unsure, bins=ENTROPY_BINS, min=0.0, max=1.0) / len(rows)
    ties = (ordered[:, :-1] - ordered[:, 1:] < _TIED).float().mean()
    return torch.cat([ordered.mean(dim=0), tenths, ties.unsqueeze(0)])


def distance(rows: Tensor, others: Tensor) -> float:
    """Return the mean L1 distance between rows (N, K) and others."""
    return float((rows - others).abs().sum(dim=1).mean())


def _within_argmax(undo: Restore, rows: Tensor) -> Tensor:
    return keep_argmax(undo(rows), rows).float()


def _unchanged(rows: Tensor) -> Tensor:
    return rows
