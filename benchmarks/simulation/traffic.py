"""Honest images that a defense may flip, whose true loss is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from arena.metrics.honest_outcomes import Outcomes

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Honest images of which a share flips: 75 % of those that can are lost, 15 % gained, the rest changes neither way."""

    images: int
    flips: float
    attacks: int
    shift: float = 0.0  # standard deviation over seeds of how far the whole defense moves, on the latent scale
    asked: float = 1.0  # share of the images that each seed asks

    FIXED = 0.6  # share of the latent variance that an image keeps over seeds
    PER_ATTACK = 0.3  # share of the rest that is drawn anew beside each attack
    LOST, GAINED = 0.75, 0.15

    @property
    def true_loss(self) -> float:
        return (self.LOST - self.GAINED) * self.flips

    def outcomes(self, seeds: int, rng: np.random.Generator) -> list[Outcomes]:
        """Return what became of the images on each seed, summed over attacks."""
        drawn = rng.random(self.images)
        sign = np.where(drawn < self.LOST, 1, np.where(drawn < self.LOST + self.GAINED, -1, 0))
        fixed = np.sqrt(self.FIXED) * rng.normal(size=self.images)
        bound = special.ndtri(self.flips) * np.sqrt(1 + self.shift**2)
        return [self._of_seed(sign, fixed, bound, rng) for _ in range(seeds)]

    def _of_seed(self, sign: NDArray[np.int_], fixed: Array, bound: float, rng: np.random.Generator) -> Outcomes:
        rest = 1 - self.FIXED
        own = np.sqrt(rest * (1 - self.PER_ATTACK)) * rng.normal(size=self.images)
        each = np.sqrt(rest * self.PER_ATTACK) * rng.normal(size=(self.attacks, self.images))
        flips = (fixed + own + each + self.shift * rng.normal() < bound).sum(axis=0)
        asked = self.attacks * (rng.random(self.images) < self.asked).astype(np.int64)
        clean = np.where(sign >= 0, asked, 0)
        return Outcomes(asked=asked, clean=clean, right=clean - sign * np.minimum(flips, asked))
