"""Guess the defense, apply it to the attacker's own answers, and look up which of them become the released ones.

Source: the partial Bayes attack of Tang et al., "ModelGuard: Information-Theoretic Defense Against Model Extraction
Attacks", USENIX Security 2024: the mean of the clean rows that the known defense maps to the released one.
Departures: The prior is the answers of the attacker's own networks. The paper's prior is a Dirichlet distribution,
which its code fits to the victim's clean rows; no attacker has these, and a guessed distribution makes rounded rows
worse. A row that is far from every entry of the table stays as it is; otherwise all entries as near as the
``neighbours``-th are averaged.
A blind attacker guesses methods with other parameters than any that is played by default, so it rarely has the defense
itself. One that knows it is an informed matchup.
Published number: none on equal terms. Reproduced: direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor

from arena.attacks.parts.recovery import RecoveryAttack, Restore
from arena.contracts import AttackContext, BadParameter

_ROWS_AT_ONCE = 256  # rows whose distances to the whole table are in memory together


@dataclass(frozen=True, kw_only=True)
class RecoveryTable(RecoveryAttack):
    """Averages the entries with the same argmax that are as near as the ``neighbours``-th, if it is within ``reach``.

    Distances are L2; a row whose ``neighbours``-th entry is farther than ``reach`` is left unchanged.
    The other fields are those of `arena.attacks.parts.recovery.RecoveryAttack`.
    """

    neighbours: int = 5
    reach: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1 or self.reach < 0:
            message = f"neighbours = {self.neighbours} must be at least 1, and reach = {self.reach} at least 0"
            raise BadParameter(message)

    def undoing(self, defended: Tensor, clean: Tensor, context: AttackContext, *, rng: Generator) -> Restore:
        """Look up rows among the defended ones."""
        return partial(looked_up, defended=defended, clean=clean, neighbours=self.neighbours, reach=self.reach)


def looked_up(rows: Tensor, defended: Tensor, clean: Tensor, *, neighbours: int, reach: float) -> Tensor:
    """Return, for each row (N, K), the mean of the clean entries (M, K) whose ``defended`` row is near, else the row.

    The near entries are those with the row's argmax that are as near (L2) as the ``neighbours``-th of them, if that is
    within ``reach``. So all clean rows that a quantiser maps to the same row count equally.
    """
    restored = [rows[:0]]
    for part in rows.split(_ROWS_AT_ONCE):
        distances = torch.cdist(part, defended, compute_mode="donot_use_mm_for_euclid_dist")
        distances[part.argmax(dim=1, keepdim=True) != defended.argmax(dim=1)] = torch.inf
        count = min(neighbours, len(defended))
        farthest = distances.topk(count, dim=1, largest=False).values[:, -1:]
        near = ((distances <= farthest) & (farthest <= reach)).to(clean.dtype)
        means = near @ clean / near.sum(dim=1, keepdim=True).clamp(min=1)
        restored.append(torch.where(near.any(dim=1, keepdim=True), means, part))
    return torch.cat(restored)
