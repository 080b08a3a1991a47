"""The global generators, which a player leaves alone."""

from __future__ import annotations

import random

import numpy as np
import torch

from arena.learning.tensors import digest_of

TOUCHED = "a global generator of random, numpy or torch was drawn from or seeded"


def advance_generators() -> None:
    """Draw once from each."""
    random.random()
    np.random.random()
    torch.rand(1)


def global_state() -> str:
    """Return a digest of the state of Python's, NumPy's and torch's global generators."""
    numpy_state = np.random.get_state(legacy=False)
    return digest_of([torch.get_rng_state(), repr(random.getstate()), repr(numpy_state)])
