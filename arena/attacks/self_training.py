"""Label the pool rows that were not queried with the stolen clone, and train a new one on the surest of them, too.

Source: the self-paced loop of Hondru, Ionescu, "Towards Few-Call Model Stealing via Active Self-Paced Knowledge
Distillation and Diffusion-Based Image Generation", arXiv 2310.00096, 2023.
Departures: It wraps any attack. The rows come from the attacker's pool instead of a text-to-image model, which would
need the names of the classes and gigabytes of weights. Shares and rounds are ours.
Facts of the result: ``pseudo_labelled``, the rows of the last round that no query paid for.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.oracle_views import AttackWrapper
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import AttackContext, BadParameter, Need, Oracle
from arena.learning.architectures import build
from arena.learning.distillation import distil
from arena.learning.randomness import child
from arena.learning.tensors import row_digests
from arena.learning.training import predict


@dataclass(frozen=True, kw_only=True)
class SelfTraining(AttackWrapper):
    """Plays ``base``, then ``rounds`` of labelling and training.

    A round takes the ``share`` of the unqueried rows of each predicted class of which the clone is surest, with its
    posteriors as labels. Each clone is a new one of architecture ``arch``, trained for ``steps`` (None: the referee's
    recipe).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})

    rounds: int = 2
    share: float = 0.5
    arch: str = "auto"
    steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 1 or not 0 < self.share <= 1:
            message = f"rounds = {self.rounds} must be at least 1, and share = {self.share} above 0 and at most 1"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Play ``base``, and train on; its own clone is returned if no row is left or no time."""
        transfer_set = TransferSet(oracle)
        clone = self.base.extract(transfer_set, context, rng=rng)
        unqueried, draws = without_rows(context.pool, transfer_set.inputs), child(rng)
        for _ in range(self.rounds if len(unqueried) else 0):
            if context.time_left() <= 0:
                break
            labels = predict(clone, unqueried)
            chosen = surest(labels, share=self.share)
            inputs = torch.cat([transfer_set.inputs, unqueried[chosen]])
            released = torch.cat([transfer_set.released, labels[chosen]])
            clone = build(self.arch, oracle.task, rng=draws).to(context.device)
            clone = distil(clone, inputs, released, rng=draws, steps=self.steps, time_left=context.time_left)
            context.note("pseudo_labelled", len(chosen))
        return clone


def without_rows(pool: Tensor, queried: Tensor) -> Tensor:
    """Return the rows of a pool (M, *shape) whose bytes are not among the queried rows (N, *shape)."""
    seen = set(row_digests(queried))
    return pool[torch.tensor([digest not in seen for digest in row_digests(pool)], dtype=torch.bool)]


def surest(posteriors: Tensor, *, share: float) -> Tensor:
    """Return the indices of the ``share`` of the rows (N, K) of each argmax class with the largest confidence."""
    confidence, labels = posteriors.max(dim=1)
    chosen = []
    for label in labels.unique().tolist():
        of_class = (labels == label).nonzero().flatten()
        order = confidence[of_class].argsort(descending=True, stable=True)
        chosen.append(of_class[order[: max(1, round(share * len(of_class)))]])
    return torch.cat(chosen)
