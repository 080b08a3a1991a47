"""Answer a small secret share of all queries with another class: a clone that learns these answers can be recognised.

Source: Szyller, Atli, Marchal, Asokan, "DAWN: Dynamic Adversarial Watermarking of Neural Networks", ACM MM 2021, arXiv
1906.00830, and the authors' code: a keyed hash of the query decides whether it is marked.
Departures: The values of two classes are exchanged instead of a one-hot row being released, so that scores look as
before. ``runner-up`` exchanges with the second most likely class, which costs users less and marks less. What is here
is the defense; the test of a suspect's model by its marks is not.
Published number: none of these terms. Reproduced: formula.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from arena.contracts import BadParameter, DefenseContext, Promise, Responder, State, Task
from arena.learning.composition import ComposableDefense, transformed
from arena.learning.tensors import row_digests

Wrong = Literal["uniform", "runner-up"]

RATE_BITS, CLASS_BITS = 16, 32  # of the hash, for whether a row is marked, and for its class
_KEY_BYTES = 32
SMALLEST_TASK = 2


@dataclass(frozen=True, kw_only=True)
class Dawn(ComposableDefense):
    """``rate`` is the share of queries that are marked, and ``wrong`` the class that a marked row gets."""

    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("rate", (0.0, 0.005, 0.01, 0.02, 0.05))

    rate: float = 0.005
    wrong: Wrong = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.rate < 1:
            message = f"rate = {self.rate} must lie in [0, 1)"
            raise BadParameter(message)

    @property
    def own_promise(self) -> Promise:
        return Promise(noise="keyed")

    def check(self, task: Task) -> None:
        super().check(task)
        if task.classes < SMALLEST_TASK:
            message = f"dawn needs another class to mark rows with, and this task has {task.classes}"
            raise BadParameter(message)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        key = bytes(torch.randint(256, (_KEY_BYTES,), generator=rng).tolist())
        return transformed(
            self.below(context, state, rng=rng), lambda rows, queries: self._marked(rows, queries.inputs, key)
        )

    def _marked(self, rows: Tensor, inputs: Tensor, key: bytes) -> Tensor:
        """Return rows (N, K) of which the marked ones have the values of two classes exchanged."""
        hashes = [hmac.digest(key, digest, hashlib.sha256) for digest in row_digests(inputs)]
        chosen = torch.tensor([_number(one, 0, RATE_BITS) < self.rate * 2**RATE_BITS for one in hashes])
        order = rows.argsort(dim=1, descending=True, stable=True)
        if self.wrong == "runner-up":
            place = torch.ones(len(rows), dtype=torch.int64)
        else:
            place = torch.tensor([1 + _number(one, RATE_BITS, CLASS_BITS) % (rows.shape[1] - 1) for one in hashes])
        first, other = order[:, :1], order.gather(1, place.unsqueeze(1))
        exchanged = rows.scatter(1, first, rows.gather(1, other)).scatter(1, other, rows.gather(1, first))
        return torch.where(chosen.unsqueeze(1), exchanged, rows)


def _number(digest: bytes, start: int, bits: int) -> int:
    """Return ``bits`` of a digest from bit ``start``, both multiples of 8, as a number."""
    return int.from_bytes(digest[start // 8 : (start + bits) // 8], "big")
