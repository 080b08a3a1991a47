"""Choose pool rows in three steps: the clone is unsure of them, they are near what it got wrong, and they differ.

Source: Karmakar, Basu, "Marich: A Query-efficient Distributionally Equivalent Model Extraction Attack using Public
Data", NeurIPS 2023, arXiv 2302.08466; order of the steps and constants from the authors' code.
Departures: A round's share of the budget is fixed, where the authors' grows by a hundredth. The clone of a round is a
new one. The entropy whose gradient tells rows apart is that of each row's posteriors; the authors' code takes the
softmax over the rows of a batch. Scores are used where they are released; the paper has labels only.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.clustering import distances, k_means
from arena.attacks.parts.rounds import FreshClones, Unqueried, shares_after_seed
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import Attack, AttackContext, BadParameter, Need, Oracle, StopReason
from arena.learning.distillation import LOG_FLOOR
from arena.learning.randomness import child
from arena.learning.release import entropy
from arena.learning.training import predict

_ROWS_AT_ONCE = 512  # whose gradients are taken together


@dataclass(frozen=True, kw_only=True)
class Marich(Attack):
    """Spends ``seed_share`` of the budget on random rows, then ``rounds`` equal shares.

    A round begins with the rows of largest entropy, so many that the share is left when two steps each keep the shares
    ``near_share`` and ``apart_share`` of them: first those near the ``centres`` queried rows with the largest loss, then
    those near the centres of as many clusters of entropy gradients. The clone of a round is trained for ``steps_inner``
    steps, the last one for ``steps`` (None: the referee's recipe).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})
    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"pool exhausted", "deadline"})

    seed_share: float = 0.2
    rounds: int = 10
    near_share: float = 0.8
    apart_share: float = 0.8
    centres: int = 10
    arch: str = "auto"
    steps_inner: int = 400
    steps: int | None = None

    def __post_init__(self) -> None:
        parts = (self.seed_share, self.near_share, self.apart_share)
        if not 0 < min(parts) <= max(parts) <= 1 or min(self.rounds, self.centres) < 1:
            message = (
                f"seed_share = {self.seed_share}, near_share = {self.near_share} and apart_share = {self.apart_share} must "
                "be above 0 and at most 1, and rounds and centres at least 1"
            )
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Choose rows, query them and train a new clone, round by round, until the budget or the pool is exhausted."""
        clones, choice = FreshClones(self.arch, oracle.task, context, rng=rng), child(rng)
        unqueried, transfer_set = Unqueried(context.pool, rng=choice), TransferSet(oracle)
        budget = min(oracle.remaining, len(unqueried))
        for share in shares_after_seed(
            unqueried, transfer_set, context, budget=budget, seed_share=self.seed_share, rounds=self.rounds
        ):
            clone = clones.fitted(transfer_set, steps=self.steps_inner)
            candidates = unqueried.indices
            chosen = self._chosen(clone, context.pool[candidates], transfer_set, share, rng=choice)
            transfer_set.extend(unqueried.take(candidates[chosen]))
        return clones.fitted(transfer_set, steps=self.steps)

    def _chosen(self, clone: nn.Module, rows: Tensor, known: TransferSet, share: int, *, rng: Generator) -> Tensor:
        """Return the indices of ``share`` of the rows (M, *shape)."""
        near = math.ceil(share / self.apart_share)
        unsure = entropy(predict(clone, rows)).argsort(descending=True, stable=True)[
            : math.ceil(near / self.near_share)
        ]
        worst = known.inputs[losses(clone, known).argsort(descending=True, stable=True)[: self.centres]]
        kept = unsure[nearest_of_each(rows[unsure].flatten(1), worst.flatten(1), near)]
        slopes = entropy_gradients(clone, rows[kept])
        return kept[nearest_of_each(slopes, k_means(slopes, self.centres, rng=rng), share)]


def losses(clone: nn.Module, known: TransferSet) -> Tensor:
    """Return the cross entropy (N,) of a clone on every labelled query, in nats; 0 for refused ones."""
    return -(known.released * predict(clone, known.inputs).clamp(min=LOG_FLOOR).log()).sum(dim=1)


def nearest_of_each(points: Tensor, centres: Tensor, chosen: int) -> Tensor:
    """Return the indices of ``chosen`` of the points (N, d), or all of them: the nearest of each centre, in turn.

    The centres (k, d) take turns; a point that another centre has taken is passed over.
    """
    ranks = distances(points, centres).argsort(dim=0, stable=True)
    in_turn = ranks.flatten()  # the nearest of every centre, then the second nearest of every centre, ...
    first = torch.full((len(points),), len(in_turn))
    first = first.scatter_reduce(0, in_turn, torch.arange(len(in_turn)), reduce="amin")
    return first.argsort(stable=True)[:chosen]


def entropy_gradients(clone: nn.Module, inputs: Tensor) -> Tensor:
    """Return the gradients (N, d) of the entropy of a clone's posteriors with respect to inputs (N, *shape)."""
    device = next(clone.parameters()).device
    found = []
    for part in inputs.split(_ROWS_AT_ONCE):
        x = part.to(device).requires_grad_(True)
        rows = clone(x).softmax(dim=1)
        (slopes,) = torch.autograd.grad(entropy(rows).sum(), x)
        found.append(slopes.flatten(1).cpu())
    return torch.cat(found)
