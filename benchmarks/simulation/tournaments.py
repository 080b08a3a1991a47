"""Tournaments made of random numbers, whose truth is known.

A cell is an attack on a defense. On each seed it has a probability p of agreement: its mean, moved by effects of the seed,
of the attack and of the defense on that seed, and of the cell's own training. Image t is hit if sqrt(.7) b_t + sqrt(.1)
x_st + sqrt(.2) w < Phi^-1(p), all standard normal: b once for the fixed test set, x once a seed for all cells, w each
time. So images differ in difficulty, cells of a seed fail on the same ones, and a share is a count of images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

IMAGES = 400
SEED_SPREAD, PLAYER_SPREAD = 0.015, 0.005  # standard deviations of p, of all cells of a seed and of a player's there
FIXED, COMMON, OWN = 0.7, 0.1, 0.2  # shares of the variance of an image's difficulty
LEAST, MOST = 0.01, 0.995  # of p
NODES = 15  # of the quadrature over p


@dataclass(frozen=True, kw_only=True, eq=False)
class Played:
    """Shares of hits (attacks, defenses, seeds), and the difficulty (images,) of the test set."""

    values: Array
    difficulty: Array


def play(means: Array, spreads: Array | float, *, seeds: int, rng: np.random.Generator) -> Played:
    """Play cells (attacks, defenses) of these means, whose own trainings spread by so much, on so many seeds."""
    attacks, defenses = means.shape
    effects = (
        rng.normal(0, SEED_SPREAD, (1, 1, seeds))
        + rng.normal(0, PLAYER_SPREAD, (attacks, 1, seeds))
        + rng.normal(0, PLAYER_SPREAD, (1, defenses, seeds))
        + rng.normal(size=(attacks, defenses, seeds)) * np.broadcast_to(np.asarray(spreads), means.shape)[:, :, None]
    )
    bounds = special.ndtri(np.clip(means[:, :, None] + effects, LEAST, MOST)).astype(np.float32)
    difficulty = rng.normal(size=IMAGES)
    shared = np.sqrt(FIXED) * difficulty + np.sqrt(COMMON) * rng.normal(size=(seeds, IMAGES))
    own = rng.standard_normal((attacks, defenses, seeds, IMAGES), dtype=np.float32)
    hits = own < (bounds[..., None] - shared.astype(np.float32)) / np.float32(np.sqrt(OWN))
    return Played(values=hits.mean(axis=3), difficulty=difficulty)


def true_shares(means: Array, spreads: Array | float, difficulty: Array) -> Array:
    """Return what cells (attacks, defenses) get of these images on average over seeds."""
    own = np.broadcast_to(np.asarray(spreads), means.shape)
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    spread = np.sqrt(SEED_SPREAD**2 + 2 * PLAYER_SPREAD**2 + own**2)
    kinds, places = np.unique(np.stack([means.ravel(), spread.ravel()], axis=1), axis=0, return_inverse=True)
    bounds = special.ndtri(np.clip(kinds[:, :1] + kinds[:, 1:] * nodes, LEAST, MOST))[..., None]
    shares = special.ndtr((bounds - np.sqrt(FIXED) * difficulty) / np.sqrt(COMMON + OWN)).mean(axis=2)
    return np.asarray((shares @ (weights / weights.sum()))[places.reshape(-1)].reshape(means.shape))


def mixed_spreads(players: int, rng: np.random.Generator) -> Array:
    """Return spreads of 1 to 5 points, equally spaced and shuffled."""
    return rng.permutation(np.linspace(0.01, 0.05, players))


def copies(players: int) -> list[int]:
    """Return for each player whom it is: of three or five players two are the same, of more a third are."""
    same = 2 if players <= 5 else players // 3
    return [0 if place < same else place for place in range(players)]


def spaced(players: int, spread: float, rng: np.random.Generator) -> Array:
    """Return equally spaced values of this standard deviation and mean 0, shuffled."""
    steps = np.arange(players) - (players - 1) / 2
    return np.asarray(rng.permutation(steps) * spread / steps.std())
