"""Exploit what a defense keeps: rows with the original order or shape are stretched back to confident answers.

Source: our own, against defenses that keep the order of the classes but flatten the confidence scores.
``rank-sharpening`` uses only the ranks, ``standardised-logits`` the logits up to location and scale.
Departures: None. Published number: none. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.oracle_views import AttackWrapper, TransformedOracle
from arena.contracts import AttackContext, BadParameter, Oracle
from arena.learning.distillation import LOG_FLOOR


@dataclass(frozen=True, kw_only=True)
class Sharpening(AttackWrapper):
    """``kept`` is what is used of a row: ``ranks``, each worth ``decay`` times the one before, or ``logits``.

    Logits are standardised and multiplied by ``scale``.
    """

    kept: Literal["ranks", "logits"] = "ranks"
    decay: float = 0.7
    scale: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.decay < 1 or self.scale <= 0:
            message = f"decay = {self.decay} must lie between 0 and 1, and scale = {self.scale} must be more than 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Play ``base`` on sharpened answers."""
        return self.base.extract(TransformedOracle(oracle=oracle, transform=self._sharpened), context, rng=rng)

    def _sharpened(self, rows: Tensor) -> Tensor:
        return by_rank(rows, decay=self.decay) if self.kept == "ranks" else standardised(rows, scale=self.scale)


def by_rank(rows: Tensor, *, decay: float) -> Tensor:
    """Return decay^rank of each entry, normalised, (N, K) float32; ranks begin at 0, ties go to the lowest index."""
    ranks = rows.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    worth = decay**ranks
    return worth / worth.sum(dim=1, keepdim=True)


def standardised(rows: Tensor, *, scale: float) -> Tensor:
    """Return softmax(scale * (log y - mean) / deviation) of rows y (N, K), over the classes; flat rows stay flat."""
    logits = rows.clamp(min=LOG_FLOOR).log()
    centred = logits - logits.mean(dim=1, keepdim=True)
    deviation = centred.square().mean(dim=1, keepdim=True).sqrt()
    return (scale * centred / deviation.clamp(min=torch.finfo(rows.dtype).eps)).softmax(dim=1)
