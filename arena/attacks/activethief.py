"""Active learning on the attacker's pool: each round queries the rows that the current clone finds most useful.

Source: Pal, Gupta, Shukla, Kanade, Shevade, Ganapathy, "ActiveThief: Model Extraction Using Active Learning and
Unannotated Public Data", AAAI 2020 (earlier text: arXiv 1905.09165). Its strategies come from Sener, Savarese, arXiv
1708.00489 (k-center) and Ducoffe, Precioso, arXiv 1802.09841 (DFAL).
Departures: Clones are trained by the arena's recipe for a fixed number of steps, so no labelled query is held back for
validation and early stopping. DeepFool is run on the logits, neither clipped to [0, 1] nor run to its end, and on fewer
candidates than the other strategies.
Published number: none on equal terms (its pools are ImageNet and WikiText-2). Reproduced: formula.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.clustering import distances
from arena.attacks.parts.deepfool import boundary_distances
from arena.attacks.parts.rounds import FreshClones, Unqueried, shares_after_seed
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import Attack, AttackContext, BadParameter, Need, Oracle, StopReason
from arena.learning.randomness import child
from arena.learning.release import entropy
from arena.learning.training import predict

_CENTRES_AT_ONCE = 512

Strategy = Literal["random", "uncertainty", "k-center", "dfal", "dfal+k-center"]


@dataclass(frozen=True, kw_only=True)
class ActiveThief(Attack):
    """Spends ``seed_share`` of the budget on random rows, then ``rounds`` equal shares by ``strategy``.

    ``uncertainty`` prefers rows of high entropy, ``k-center`` rows whose posteriors are far from those of all queried
    rows, and ``dfal`` rows near the clone's decision boundary. ``dfal+k-center`` takes the rows by ``dfal`` that make
    up the same share of the candidates as the budget of the pool, and chooses among them by ``k-center``. Each round
    chooses among ``candidates`` random rows, or among ``fooled`` rows if it needs DeepFool, which takes ``iterations`` steps. The clone of a round is trained for
    ``steps_inner`` steps, the last one for ``steps`` (None: the referee's recipe).
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
            message = f"seed_share = {self.seed_share} must lie in (0, 1]; rounds, candidates, fooled and iterations "
            message += "must be at least 1"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Choose rows, query them and train a new clone, round by round, until the budget or the pool is exhausted."""
        clones, choice = FreshClones(self.arch, oracle.task, context, rng=rng), child(rng)
        unqueried, transfer_set = Unqueried(context.pool, rng=choice), TransferSet(oracle)
        budget = min(oracle.remaining, len(unqueried))
        for share in shares_after_seed(
            unqueried, transfer_set, context, budget=budget, seed_share=self.seed_share, rounds=self.rounds
        ):
            candidates = unqueried.sample(max(share, self.fooled if "dfal" in self.strategy else self.candidates))
            if self.strategy != "random":
                clone = clones.fitted(transfer_set, steps=self.steps_inner)
                rows = context.pool[candidates]
                near = max(share, near_rows(len(rows), budget=budget, pool=len(unqueried)))
                candidates = candidates[self._best(clone, rows, transfer_set.inputs, share, near=near)]
            transfer_set.extend(unqueried.take(candidates[:share]))
        return clones.fitted(transfer_set, steps=self.steps)

    def _best(self, clone: nn.Module, rows: Tensor, queried: Tensor, share: int, *, near: int) -> Tensor:
        """Return the indices of the ``share`` best of the rows (C, *shape) by the strategy, best first.

        ``near`` is how many of them ``dfal+k-center`` chooses among.
        """
        if self.strategy == "uncertainty":
            return entropy(predict(clone, rows)).argsort(descending=True, stable=True)[:share]
        filtered = torch.arange(len(rows))
        if self.strategy != "k-center":
            lengths = boundary_distances(clone, rows, iterations=self.iterations)
            filtered = lengths.argsort(stable=True)[: share if self.strategy == "dfal" else near]
        if self.strategy == "dfal":
            return filtered
        return filtered[k_center(predict(clone, rows[filtered]), predict(clone, queried), share)]


def near_rows(candidates: int, *, budget: int, pool: int) -> int:
    """Return how many of the candidates DFAL keeps: the paper's ``budget`` rows of a pool, as a share of each."""
    return math.ceil(candidates * min(1.0, budget / max(1, pool)))


def k_center(points: Tensor, centres: Tensor, chosen: int) -> Tensor:
    """Choose ``chosen`` of the points (N, d) by the greedy rule of Sener and Savarese, and return their indices.

    Each step chooses the point that is farthest from its nearest centre, and makes it a centre too; the first centres
    are given (M, d). Ties go to the lowest index.
    """
    nearest = torch.full((len(points),), torch.inf)
    for chunk in centres.split(_CENTRES_AT_ONCE):
        nearest = torch.minimum(nearest, distances(points, chunk).amin(dim=1))
    picked = []
    for _ in range(chosen):
        farthest = int(nearest.argmax())
        picked.append(farthest)
        nearest = torch.minimum(nearest, distances(points, points[farthest : farthest + 1]).squeeze(1))
        nearest[farthest] = -1.0  # never chosen again, even if every other point is at distance 0
    return torch.tensor(picked, dtype=torch.long)
