"""Guess the defense, and look up which answers of one's own it turns into those that came.

Source: the partial Bayes attack of Tang et al., "ModelGuard: Information-Theoretic Defense Against Model Extraction
Attacks", USENIX Security 2024: the mean of the clean rows that the known defense turns into the released one.
Departures: the prior is what networks of the attacker answer. The paper's is a Dirichlet distribution; its code fits it
to the victim's clean rows, which no attacker has, and a guessed one makes rounded rows worse. A row that is far from
all of the table stays as it is; else all entries as near as the ``neighbours``-th are averaged.
Published number: none at equal terms. Reproduced: direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor

from arena.attacks.parts.recovery import RecoveryAttack, Restore
from arena.contracts import AttackContext, BadParameter

_ROWS_AT_ONCE = 256  # of distances to the whole table


@dataclass(frozen=True, kw_only=True)
class RecoveryTable(RecoveryAttack):
    """Entries of the same argmax count, as near as the ``neighbours``-th; none if that is more than ``reach`` away (L2).

    The other fields are those of `arena.attacks.parts.recovery.RecoveryAttack`.
    """

    neighbours: int = 5
    reach: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1 or self.reach < 0:
            message = f"neighbours = {self.neighbours} is at least 1, and reach = {self.reach} is not below 0"
            raise BadParameter(message)

    def undoing(self, defended: Tensor, clean: Tensor, context: AttackContext, *, rng: Generator) -> Restore:
        """Look rows up among the defended ones."""
        return partial(looked_up, defended=defended, clean=clean, neighbours=self.neighbours, reach=self.reach)


def looked_up(rows: Tensor, defended: Tensor, clean: Tensor, *, neighbours: int, reach: float) -> Tensor:
    """Return for each row (N, K) the mean of the clean entries (M, K) whose ``defended`` twin is near, else the row.

    Near are entries of the row's argmax, as near (L2) as the ``neighbours``-th of them and not beyond ``reach``; so all
    that a quantiser turns into the very row count alike.
    """
    found = [rows[:0]]
    for part in rows.split(_ROWS_AT_ONCE):
        distances = torch.cdist(part, defended, compute_mode="donot_use_mm_for_euclid_dist")
        distances[part.argmax(dim=1, keepdim=True) != defended.argmax(dim=1)] = torch.inf
        count = min(neighbours, len(defended))
        farthest = distances.topk(count, dim=1, largest=False).values[:, -1:]
        near = ((distances <= farthest) & (farthest <= reach)).to(clean.dtype)
        means = near @ clean / near.sum(dim=1, keepdim=True).clamp(min=1)
        found.append(torch.where(near.any(dim=1, keepdim=True), means, part))
    return torch.cat(found)
