"""Generators derived from a seed and a role, so that the draws of one player never move those of another."""

from __future__ import annotations

import hashlib

import torch
from torch import Generator, Tensor

from arena.learning.tensors import row_digests


def generator(seed: int, *role: str | int, secret: bytes = b"") -> Generator:
    """Return a CPU generator seeded with blake2b(seed, role); roles are words like ``"attack"`` or ``"honest"``.

    With a ``secret`` of up to 64 bytes as the hash's key, whoever knows seed and role cannot predict what it draws.
    """
    return Generator().manual_seed(derived_seed(seed, *role, secret=secret))


def derived_seed(seed: int, *role: str | int, secret: bytes = b"") -> int:
    """Return a 63-bit seed that depends on ``seed``, on every part of ``role``, and on ``secret``."""
    text = "\x1f".join([str(seed), *map(str, role)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=secret).digest(), "little") >> 1


def child(rng: Generator) -> Generator:
    """Return a new generator seeded by one draw of ``rng``: what it draws later does not depend on how much."""
    return Generator().manual_seed(int(torch.randint(2**62, (1,), generator=rng).item()))


def keyed_normal(inputs: Tensor, columns: int, *, key: int) -> Tensor:
    """Return (N, columns) standard normal float32 numbers that depend on the key and on each row's bytes alone.

    An equal row gets equal numbers whenever and beside whatever it is asked, so averaging repeats wins nothing.
    """
    rows = [
        torch.randn(columns, generator=generator(key, digest.hex()))  # one row, one generator
        for digest in row_digests(inputs)
    ]
    return torch.stack(rows) if rows else torch.empty(0, columns)
