"""What honest users got for each image they queried, packed as text for storage in a match result.

For a match with a budget of 400, this adds about 1 kB to the result if the honest split has 200 rows, and 3 kB if it
has 2,000.
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
    """Counts (R,) per row of the honest split, int64; all are 0 for a row that was not queried."""

    asked: NDArray[np.int64]
    clean: NDArray[np.int64]  # how often the undefended victim would have been right: always or never for a given row
    right: NDArray[np.int64]  # how often the answer was right


def pack(rows: Tensor, *, clean: Tensor, right: Tensor, split: int) -> HonestOutcomes:
    """Pack the outcomes of N honest queries.

    ``rows`` (N,) are positions in the honest split, which has ``split`` rows. ``clean`` and ``right`` (N,) are bool:
    whether the undefended victim is right, and whether the answer was. Raises ValueError if a row was queried too often
    to count.
    """
    asked = torch.bincount(rows, minlength=split)
    if len(asked) > split or int(asked.max()) >= BYTE:
        message = f"a row of the honest split, which has {split:,} rows, was queried {int(asked.max()):,} times; at most {BYTE - 1} can be stored"
        raise ValueError(message)
    seen = asked > 0
    hits, read = (torch.bincount(rows[which], minlength=split) for which in (right, clean))
    return HonestOutcomes(rows=_bits(seen), clean=_bits(read > 0), asked=_bytes(asked[seen]), right=_bytes(hits[seen]))


def unpack(packed: HonestOutcomes) -> Outcomes:
    """Unpack the counts. R is the size of the split, rounded up to a multiple of eight."""
    seen, read = (np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)) for text in (packed.rows, packed.clean))
    asked, right = (np.zeros(len(seen), dtype=np.int64) for _ in range(2))
    for counts, text in ((asked, packed.asked), (right, packed.right)):
        counts[seen.astype(bool)] = np.frombuffer(bytes.fromhex(text), np.uint8)
    return Outcomes(asked=asked, clean=asked * read, right=right)


def unanswered_as_wrong(answered: HonestOutcomes | None, everything: HonestOutcomes) -> HonestOutcomes:
    """Return the outcomes of a defense that failed midway: queries of ``everything`` that it never answered are wrong."""
    right = unpack(answered).right if answered is not None else np.zeros(len(unpack(everything).asked), dtype=np.int64)
    seen = unpack(everything).asked > 0
    return replace(everything, right=_bytes(torch.from_numpy(right[seen])))


def summed(found: Iterable[Outcomes]) -> Outcomes:
    """Add up one or more outcomes on the same split."""
    every = list(found)
    asked, clean, right = (
        np.sum([getattr(one, name) for one in every], axis=0) for name in ("asked", "clean", "right")
    )
    return Outcomes(asked=asked, clean=clean, right=right)


def _bits(which: Tensor) -> str:
    return np.packbits(which.cpu().numpy()).tobytes().hex()


def _bytes(counts: Tensor) -> str:
    return counts.to(torch.uint8).cpu().numpy().tobytes().hex()
