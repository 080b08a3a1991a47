"""Train on the average of the predicted label and a softened answer: another attack is played on these rows.

Source: the student of Jandial, Khasbage, Pal, Balasubramanian, Krishnamurthy, "Distilling the Undistillable: Learning
from a Nasty Teacher", ECCV 2022, whose answers mix the predicted label with a high-temperature answer.
Departures: It wraps any attack. Share and temperature are ours, because only a summary of the paper was at hand.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor, nn

from arena.attacks.parts.oracle_views import AttackWrapper, TransformedOracle
from arena.contracts import AttackContext, BadParameter, Oracle
from arena.learning.distillation import LOG_FLOOR
from arena.learning.training import hardened


@dataclass(frozen=True, kw_only=True)
class HalfArgmax(AttackWrapper):
    """``base`` plays on ``share`` of the one-hot row and the rest of the answer softened by ``temperature``."""

    share: float = 0.5
    temperature: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1 or self.temperature <= 0:
            message = f"share = {self.share} must be between 0 and 1, and temperature = {self.temperature} more than 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Play ``base`` with each answer replaced by the mixture."""
        return self.base.extract(TransformedOracle(oracle=oracle, transform=self._mixed), context, rng=rng)

    def _mixed(self, released: Tensor) -> Tensor:
        return mixed(released, share=self.share, temperature=self.temperature)


def mixed(released: Tensor, *, share: float, temperature: float) -> Tensor:
    """Return share * one-hot + (1 - share) * softmax(log y / temperature) for rows y (N, K); rows of zeros stay zeros.

    Logarithms are taken of posteriors of at least 1e-7.
    """
    softened = (released.clamp(min=LOG_FLOOR).log() / temperature).softmax(dim=1)
    answered = (released.sum(dim=1, keepdim=True) > 0).to(released.dtype)
    return share * hardened(released) + (1 - share) * softened * answered
