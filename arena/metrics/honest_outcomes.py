"""What honest users got for each image that they asked, packed into a few hundred bytes of text a match.

A match of 400 rows adds about 1 kB to a result where the honest split has 200 rows, and 3 kB where it has 2,000.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arena.contracts import HonestOutcomes

BYTE = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """Counts (R,) by row of the honest split, int64; where a row was not asked all are 0."""

    asked: NDArray[np.int64]
    clean: NDArray[np.int64]  # times that the undefended victim would have been right: all or none of a row's
    right: NDArray[np.int64]  # times that the answer was right


def pack(rows: Tensor, *, clean: Tensor, right: Tensor, split: int) -> HonestOutcomes:
    """Return the outcomes of honest answers: to which of the ``split`` rows (N,), and whether right, both (N,) bool.

    Raises ValueError if a row was asked more often than a byte can count.
    """
    asked = torch.bincount(rows, minlength=split)
    if len(asked) > split or int(asked.max()) >= BYTE:
        message = (
            f"a row of a split of {split:,} was asked {int(asked.max()):,} times, at most {BYTE - 1} can be counted"
        )
        raise ValueError(message)
    seen = asked > 0
    hits, read = (torch.bincount(rows[which], minlength=split) for which in (right, clean))
    return HonestOutcomes(rows=_bits(seen), clean=_bits(read > 0), asked=_bytes(asked[seen]), right=_bytes(hits[seen]))


def unpack(packed: HonestOutcomes) -> Outcomes:
    """Return the counts of packed outcomes; R is the size of the split, rounded up to whole bytes of bits."""
    seen, read = (np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)) for text in (packed.rows, packed.clean))
    asked, right = (np.zeros(len(seen), dtype=np.int64) for _ in range(2))
    for counts, text in ((asked, packed.asked), (right, packed.right)):
        counts[seen.astype(bool)] = np.frombuffer(bytes.fromhex(text), np.uint8)
    return Outcomes(asked=asked, clean=asked * read, right=right)


def unanswered_as_wrong(answered: HonestOutcomes | None, everything: HonestOutcomes) -> HonestOutcomes:
    """Return the outcomes of a defense that stopped answering: what it did not answer of ``everything`` is wrong."""
    right = unpack(answered).right if answered is not None else np.zeros(len(unpack(everything).asked), dtype=np.int64)
    seen = unpack(everything).asked > 0
    return replace(everything, right=_bytes(torch.from_numpy(right[seen])))


def summed(found: Iterable[Outcomes]) -> Outcomes:
    """Return the sums of one or more outcomes on the same split."""
    every = list(found)
    asked, clean, right = (
        np.sum([getattr(one, name) for one in every], axis=0) for name in ("asked", "clean", "right")
    )
    return Outcomes(asked=asked, clean=clean, right=right)


def _bits(which: Tensor) -> str:
    return np.packbits(which.cpu().numpy()).tobytes().hex()


def _bytes(counts: Tensor) -> str:
    return counts.to(torch.uint8).cpu().numpy().tobytes().hex()
