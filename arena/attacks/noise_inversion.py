"""Undo a fixed noise matrix: the answers to confident inputs are its rows, and its inverse restores all other answers.

Source: the attacker's own answer to Wu et al., "Defense against Model Extraction Attacks by Noise Transition Matrix",
CVPR 2024, doi 10.1109/CVPR52733.2024.02294, whose victim releases y T for posteriors y and a matrix T. If y is nearly
one-hot, y T is nearly a row of T.
Departures: The attack is ours. It wraps any attack; a base that queries in rounds gets its first rows restored by an
estimate from fewer answers. If the victim keeps its argmax by other means than the matrix, the estimate is off for rows
of which it was kept.
Published number: none. Reproduced: formula; of a pair matrix with share 0.45 the estimate is exact to .01 in L1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.oracle_views import AttackWrapper
from arena.contracts import Answer, AttackContext, BadParameter, Oracle
from arena.learning.oracle_view import OracleView


@dataclass(frozen=True, kw_only=True)
class NoiseInversion(AttackWrapper):
    """``base`` plays on answers that are multiplied by the inverse of a matrix estimated from them.

    Each row of the matrix is the mean of the ``confident`` answers with the largest value of that class.
    """

    confident: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.confident < 1:
            message = f"confident = {self.confident} must be at least 1"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Play ``base`` on the restored answers."""
        return self.base.extract(_RestoredOracle(oracle=oracle, confident=self.confident), context, rng=rng)


@dataclass(kw_only=True, eq=False)
class _RestoredOracle(OracleView):
    """Restores answers by the matrix that is estimated from all answers until then."""

    confident: int
    _released: list[Tensor] = field(default_factory=list)

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        answer = super().query(inputs, explain=explain, account=account)
        self._released.append(answer.posteriors[~answer.refused])
        self._released = [torch.cat(self._released)]
        matrix = estimated(self._released[0], confident=self.confident)
        return replace(answer, posteriors=restored(answer.posteriors, matrix))


def estimated(released: Tensor, *, confident: int) -> Tensor:
    """Return the noise matrix (K, K) that released rows (N, K) suggest.

    Row k is the mean of the ``confident`` rows with argmax k whose largest value is largest, or of as many as there
    are; where there is none, it is that of the identity.
    """
    largest, classes = released.max(dim=1)
    matrix = torch.eye(released.shape[1], dtype=released.dtype, device=released.device)
    for label in classes.unique().tolist():
        of_class = (classes == label).nonzero().flatten()
        chosen = of_class[largest[of_class].argsort(descending=True, stable=True)[:confident]]
        matrix[label] = released[chosen].mean(dim=0)
    return matrix


def restored(released: Tensor, matrix: Tensor) -> Tensor:
    """Return the posteriors y (N, K) for which y ``matrix`` is nearest to each released row, with 0 for negative values.

    Rows that have no positive value then, and refused ones, are returned as they were released.
    """
    solved = (released.double() @ torch.linalg.pinv(matrix.double())).clamp(min=0)
    total = solved.sum(dim=1, keepdim=True)
    return torch.where(total > 0, (solved / total.where(total > 0, 1)).to(released.dtype), released)
