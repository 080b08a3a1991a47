"""Rebuild what a defense may not touch: rows whose order or shape is kept are stretched back to a confident answer.

Source: the arena's own attackers of defenses that promise the order of the classes but flatten the numbers:
``rank-sharpening`` keeps the ranks alone, ``standardised-logits`` the logits up to place and scale.
Departures: none. Published number: none. Reproduced: formula.
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
    """``kept`` of a row is its ranks, each worth ``decay`` times the one before, or its logits, ``scale`` wide."""

    kept: Literal["ranks", "logits"] = "ranks"
    decay: float = 0.7
    scale: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.decay < 1 or self.scale <= 0:
            message = f"decay = {self.decay} lies between 0 and 1, and scale = {self.scale} is more than 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Whatever ``base`` does, with sharpened answers."""
        return self.base.extract(TransformedOracle(oracle=oracle, transform=self._sharpened), context, rng=rng)

    def _sharpened(self, rows: Tensor) -> Tensor:
        return by_rank(rows, decay=self.decay) if self.kept == "ranks" else standardised(rows, scale=self.scale)


def by_rank(rows: Tensor, *, decay: float) -> Tensor:
    """Return (N, K) float32 with decay^rank for the rank of each entry from 0, normalised; ties to the lowest index."""
    ranks = rows.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    worth = decay**ranks
    return worth / worth.sum(dim=1, keepdim=True)


def standardised(rows: Tensor, *, scale: float) -> Tensor:
    """Return softmax(scale * (log y - mean) / deviation) of rows y (N, K), both over the classes; flat rows stay so."""
    logits = rows.clamp(min=LOG_FLOOR).log()
    centred = logits - logits.mean(dim=1, keepdim=True)
    deviation = centred.square().mean(dim=1, keepdim=True).sqrt()
    return (scale * centred / deviation.clamp(min=torch.finfo(rows.dtype).eps)).softmax(dim=1)
