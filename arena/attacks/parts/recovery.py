"""Undo a defense's perturbations: guess the defense, apply it to networks of the attacker's, and learn its inverse.

The attacks that share this code differ in how they learn the inverse. Under their threat model an attacker never sees a
clean row of the victim: the answers of its own networks take the place of clean rows.
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
from arena.learning.architectures import build, untrained_like
from arena.learning.distillation import distil
from arena.learning.randomness import child
from arena.learning.release import entropy, keep_argmax
from arena.learning.training import fit, hardened, predict

Restore = Callable[[Tensor], Tensor]
"""Maps released rows (N, K) to an estimate of the clean ones."""

ENTROPY_BINS = 10
ARGMAX_KEPT = 0.95  # of the shadows' rows: if a defense keeps at least so many, undoing it keeps the argmax too
RECOGNISED_BY = 1_000  # rows of the shadows on which each guess is compared with the victim
_TIED = 1e-7  # neighbours in a sorted row that differ by less count as ties


@dataclass(frozen=True, kw_only=True)
class RecoveryAttack(AttackWrapper):
    """Spends a ``share`` of the budget on random pool rows, to recognise the defense; ``base`` spends the rest.

    ``shadows`` networks of architecture ``arch`` are trained for ``steps_inner`` steps on the labels of those rows, and
    each answers ``shadow_rows`` rows that were not queried. Each of the ``guesses`` is applied to these answers, and
    the one whose results look most like the victim's answers is undone. If it is not at most ``closer`` times as far
    from them as the shadows' own answers, nothing is undone. An informed attack knows the defense and does not guess.
    The inverse is learnt from all shadows but the last, which tests whether it helps. A guess must also explain the
    victim's answers: applied to the recovered rows, it must return the released ones to within a mean L1 distance of
    ``reproduced``. Then a new clone is trained for ``steps`` steps (None: the referee's recipe) on all recovered rows.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})

    guesses: tuple[Defense, ...] = ()
    share: float = 0.2
    shadows: int = 3
    shadow_rows: int = 5_000
    closer: float = 0.8
    reproduced: float = 0.4
    arch: str = "auto"
    steps_inner: int = 150
    steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = self.shadows < 2 or self.shadow_rows < 1 or self.reproduced < 0
        if not 0 <= self.share < 1 or not 0 < self.closer <= 1 or counts:
            message = f"share = {self.share} must lie in [0, 1) and closer = {self.closer} in (0, 1]; reproduced must "
            message += "be at least 0, shadows at least 2 and shadow_rows at least 1"
            raise BadParameter(message)

    @abstractmethod
    def undoing(self, defended: Tensor, clean: Tensor, context: AttackContext, *, rng: Generator) -> Restore:
        """Return a function that maps rows like ``defended`` (N, K) back to rows like ``clean`` (N, K)."""

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Recognise the defense, play ``base`` on recovered answers, and train a new clone on all of them."""
        spare = oracle.remaining - self.base.min_budget(oracle.task)
        size = min(int(self.share * oracle.remaining), int(self.share * len(context.pool)), spare)
        if size == 0:
            return self.base.extract(oracle, context, rng=rng)
        draws = child(rng)
        pool = context.pool[torch.randperm(len(context.pool), generator=draws)]
        transfer_set = TransferSet(oracle)
        transfer_set.extend(pool[:size])
        context = replace(context, pool=pool[size:])
        restore = self._restore(transfer_set, context, rng=draws)
        clone = self.base.extract(TransformedOracle(oracle=transfer_set, transform=restore), context, rng=rng)
        clone = untrained_like(clone, oracle.task, rng=draws)
        inputs, released = transfer_set.answered()
        return distil(clone, inputs, restore(released), rng=draws, steps=self.steps, time_left=context.time_left)

    def _restore(self, transfer_set: TransferSet, context: AttackContext, *, rng: Generator) -> Restore:
        """Return what undoes the defense that the transfer set shows, or the identity if it shows none."""
        inputs, released = transfer_set.answered()
        known = context.simulated
        guesses = [one for one in ((known,) if known is not None else self.guesses) if simulable(one)]
        if not len(inputs) or not guesses:
            return _unchanged
        unqueried = context.pool[: self.shadow_rows]
        clean = torch.cat(
            [self._shadow_rows(inputs, released, unqueried, context, rng=rng) for _ in range(self.shadows)]
        )
        queries = torch.cat([unqueried] * self.shadows)
        compared = torch.randperm(len(clean), generator=rng)[:RECOGNISED_BY]
        simulated = [SimulatedDefense(one, transfer_set.task, on=context.device, rng=rng) for one in guesses]
        best = recognised(
            [one(queries[compared], clean[compared]) for one in simulated],
            clean[compared],
            released,
            closer=self.closer,
        )
        if best is None and known is None:
            return _unchanged
        defended = simulated[best or 0](
            queries, clean
        )  # a known defense is undone even if the answers do not look like it
        if torch.equal(defended, clean):
            return _unchanged
        undo = self.undoing(defended[: -len(unqueried)], clean[: -len(unqueried)], context, rng=rng)
        kept = float((defended.argmax(dim=1) == clean.argmax(dim=1)).float().mean()) >= ARGMAX_KEPT
        restore = partial(_within_argmax, undo) if kept else undo
        again = simulated[best or 0](inputs, restore(released))
        if known is None and distance(again, released) > self.reproduced:
            return _unchanged
        defended, clean = defended[-len(unqueried) :][:RECOGNISED_BY], clean[-len(unqueried) :][:RECOGNISED_BY]
        return restore if distance(restore(defended), clean) < distance(defended, clean) else _unchanged

    def _shadow_rows(
        self, inputs: Tensor, released: Tensor, unqueried: Tensor, context: AttackContext, *, rng: Generator
    ) -> Tensor:
        """Train a new network on the labels of the released rows, and return its answers to the unqueried rows."""
        shadow = build(self.arch, Task(shape=tuple(inputs.shape[1:]), classes=released.shape[1]), rng=rng)
        shadow.to(context.device)
        fit(shadow, inputs, hardened(released), steps=self.steps_inner, rng=child(rng), time_left=context.time_left)
        return predict(shadow, unqueried)


def recognised(releases: Sequence[Tensor], clean: Tensor, released: Tensor, *, closer: float) -> int | None:
    """Return the index of the ``releases`` (N, K) that look most like the ``released`` rows (M, K).

    Return None if even these are more than ``closer`` times as far from them as the clean rows (N, K) are.
    """
    distances = [fingerprint_distance(one, released) for one in releases]
    nearest = min(range(len(releases)), key=distances.__getitem__)
    return nearest if distances[nearest] <= closer * fingerprint_distance(clean, released) else None


def fingerprint_distance(rows: Tensor, others: Tensor) -> float:
    """Return the L1 distance between the fingerprints of two sets of rows (N, K) and (M, K); 0 for equal sets."""
    return float((fingerprint(rows) - fingerprint(others)).abs().sum())


def fingerprint(rows: Tensor) -> Tensor:
    """Return the fingerprint (K + 11,) of rows (N, K).

    It consists of the mean sorted row, a histogram of entropies in tenths of ln K, and the share of ties.
    """
    ordered = rows.sort(dim=1, descending=True).values
    relative_entropy = (entropy(rows) / math.log(rows.shape[1])).clamp(0, 1)
    histogram = torch.histc(relative_entropy, bins=ENTROPY_BINS, min=0.0, max=1.0) / len(rows)
    ties = (ordered[:, :-1] - ordered[:, 1:] < _TIED).float().mean()
    return torch.cat([ordered.mean(dim=0), histogram, ties.unsqueeze(0)])


def distance(rows: Tensor, others: Tensor) -> float:
    """Return the mean L1 distance between rows (N, K) and others (N, K)."""
    return float((rows - others).abs().sum(dim=1).mean())


def _within_argmax(undo: Restore, rows: Tensor) -> Tensor:
    return keep_argmax(undo(rows), rows).float()


def _unchanged(rows: Tensor) -> Tensor:
    return rows
