"""Trust the label alone: play another attack on the one-hot rows of the released argmax.

Source: the label-only adversary of Orekondy, Schiele, Fritz, "Prediction Poisoning", ICLR 2020, arXiv 1906.10908,
section 5.3, who note that it undoes defenses that keep the argmax.
Departures: wraps any attack. Published number: none at equal terms.
Reproduced: formula; against a defense that keeps the argmax the clone is that of label-only, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, nn

from arena.attacks.parts.oracle_views import AttackWrapper, TransformedOracle
from arena.contracts import AttackContext, Oracle
from arena.learning.training import hardened


@dataclass(frozen=True, kw_only=True)
class Argmax(AttackWrapper):
    """``base`` is the attack that plays."""

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Whatever ``base`` does, with one-hot answers."""
        return self.base.extract(TransformedOracle(oracle=oracle, transform=hardened), context, rng=rng)
