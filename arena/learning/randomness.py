"""Generators derived from a seed and a role, so that the draws of one player never affect those of another."""

from __future__ import annotations

import hashlib

import torch
from torch import Generator, Tensor

from arena.learning.tensors import row_digests


def generator(seed: int, *role: str | int, secret: bytes = b"") -> Generator:
    """Return a CPU generator seeded with blake2b(seed, role); roles are words such as ``"attack"`` or ``"honest"``.

    A ``secret`` of up to 64 bytes is the key of the hash; without it, nobody who knows seed and role can predict the
    draws.
    """
    return Generator().manual_seed(derived_seed(seed, *role, secret=secret))


def derived_seed(seed: int, *role: str | int, secret: bytes = b"") -> int:
    """Return a 63-bit seed that depends on ``seed``, on every part of ``role``, and on ``secret``."""
    text = "\x1f".join([str(seed), *map(str, role)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=secret).digest(), "little") >> 1


def child(rng: Generator) -> Generator:
    """Return a generator seeded by one draw from ``rng``, whose later draws do not depend on how much it is used."""
    return Generator().manual_seed(int(torch.randint(2**62, (1,), generator=rng).item()))


def keyed_normal(inputs: Tensor, columns: int, *, key: int) -> Tensor:
    """Return standard normal float32 numbers (N, columns) that depend only on the key and on each row's bytes.

    Equal rows get equal numbers, whenever and together with whatever they are queried, so averaging gains nothing.
    """
    rows = [
        torch.randn(columns, generator=generator(key, digest.hex()))  # one generator for each row
        for digest in row_digests(inputs)
    ]
    return torch.stack(rows) if rows else torch.empty(0, columns)
