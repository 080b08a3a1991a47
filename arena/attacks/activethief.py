"""Active learning on the attacker's pool: each round asks what the current clone finds most useful.

Source: Pal, Gupta, Shukla, Kanade, Shevade, Ganapathy, "ActiveThief: Model Extraction Using Active Learning and
Unannotated Public Data", AAAI 2020 (earlier text: arXiv 1905.09165). Its strategies come from Sener, Savarese, arXiv
1708.00489 (k-center) and Ducoffe, Precioso, arXiv 1802.09841 (DFAL).
Departures: clones are trained by the arena's recipe for a fixed number of steps, so no bought row is held back for
validation and early stopping. DeepFool looks at the logits, and at fewer candidates than the other strategies.
Published number: none at equal terms (its pools are ImageNet and WikiText-2). Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.clustering import distances
from arena.attacks.parts.deepfool import boundary_distances
from arena.attacks.parts.rounds import FreshClones, Unasked
from arena.attacks.parts.transfer_set import TransferSet, shares
from arena.contracts import Attack, AttackContext, BadParameter, Need, Oracle, StopReason
from arena.learning.randomness import child
from arena.learning.release import entropy
from arena.learning.training import predict

_CENTRES_AT_ONCE = 512

Strategy = Literal["random", "uncertainty", "k-center", "dfal", "dfal+k-center"]


@dataclass(frozen=True, kw_only=True)
class ActiveThief(Attack):
    """Asks ``seed_share`` of the budget at random, then ``rounds`` equal shares by ``strategy``.

    ``uncertainty``: the highest entropy; ``k-center``: far in posteriors from everything asked; ``dfal``: nearest to
    the clone's boundary; ``dfal+k-center``: the latter among as many of the former as the budget has rows. Each round
    chooses among ``candidates`` random rows, ``fooled`` where it takes DeepFool, of ``iterations`` steps.
    ``steps_inner`` train a round's clone, ``steps`` the last one (None: the referee's recipe).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})
    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"pool exhausted", "deadline"})

    strategy: Strategy = "k-center"
    seed_share: float = 0.1
    rounds: int = 10
    candidates: int = 10_000
    fooled: int = 2_000
    iterations: int = 10
    arch: str = "auto"
    steps_inner: int = 400
    steps: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.seed_share <= 1 or min(self.rounds, self.candidates, self.fooled, self.iterations) < 1:
            message = f"seed_share = {self.seed_share} lies in (0, 1], and rounds, candidates, fooled and iterations "
            message += "are at least 1"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Choose, ask and train anew, round by round, until the budget or the pool is over."""
        clones, choice = FreshClones(self.arch, oracle.task, context, rng=rng), child(rng)
        unasked, bought = Unasked(context.pool, rng=choice), TransferSet(oracle)
        budget = min(oracle.remaining, len(unasked))
        seed = min(budget, max(1, int(self.seed_share * budget)))
        bought.ask(unasked.take(seed))
        for share in filter(None, shares(budget - seed, self.rounds)):
            if context.time_left() <= 0:
                break
            candidates = unasked.sample(max(share, self.fooled if "dfal" in self.strategy else self.candidates))
            if self.strategy != "random":
                clone = clones.fitted(bought, steps=self.steps_inner)
                rows = context.pool[candidates]
                candidates = candidates[self._best(clone, rows, bought.inputs, share, budget=budget)]
            bought.ask(unasked.take(candidates[:share]))
        return clones.fitted(bought, steps=self.steps)

    def _best(self, clone: nn.Module, rows: Tensor, asked: Tensor, share: int, *, budget: int) -> Tensor:
        """Return the indices of the ``share`` rows of (C, *shape) that the strategy finds best, in that order."""
        if self.strategy == "uncertainty":
            return entropy(predict(clone, rows)).argsort(descending=True, stable=True)[:share]
        near = torch.arange(len(rows))
        if self.strategy != "k-center":
            lengths = boundary_distances(clone, rows, iterations=self.iterations)
            near = lengths.argsort(stable=True)[: share if self.strategy == "dfal" else budget]
        if self.strategy == "dfal":
            return near
        return near[k_center(predict(clone, rows[near]), predict(clone, asked), share)]


def k_center(points: Tensor, centres: Tensor, chosen: int) -> Tensor:
    """Return indices of points (N, d), ``chosen`` of them, by the greedy rule of Sener and Savarese.

    Each next one is the point that is farthest from its nearest centre (M, d), and then is a centre itself. Ties go
    to the lowest index.
    """
    nearest = torch.full((len(points),), torch.inf)
    for chunk in centres.split(_CENTRES_AT_ONCE):
        nearest = torch.minimum(nearest, distances(points, chunk).amin(dim=1))
    picked = []
    for _ in range(chosen):
        farthest = int(nearest.argmax())
        picked.append(farthest)
        nearest = torch.minimum(nearest, distances(points, points[farthest : farthest + 1]).squeeze(1))
        nearest[farthest] = -1.0  # never again, though all others be as near
    return torch.tensor(picked, dtype=torch.long)
