"""Use only the predicted label: play another attack on one-hot answers, as in the hard-label setting.

Source: the label-only adversary of Orekondy, Schiele, Fritz, "Prediction Poisoning", ICLR 2020, arXiv 1906.10908,
section 5.3, who note that it circumvents every defense that keeps the argmax. Around ``knockoff`` it is ``copycat``:
Correia-Silva, Berriel, Badue, de Souza, Oliveira-Santos, "Copycat CNN: Stealing Knowledge by Persuading Confession with
Random Non-Labeled Data", IJCNN 2018, arXiv 1806.05476, whose clone is trained on the labels of random rows.
Departures: It wraps any attack.
Published number: none on equal terms. Reproduced: formula; against a defense that keeps the argmax, the clone equals
the one stolen from a label-only oracle, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, nn

from arena.attacks.parts.oracle_views import AttackWrapper, TransformedOracle
from arena.contracts import AttackContext, Oracle
from arena.learning.training import hardened


@dataclass(frozen=True, kw_only=True)
class Argmax(AttackWrapper):
    """``base`` is the attack that plays on the labels."""

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Play ``base`` with each answer replaced by the one-hot row of its argmax."""
        return self.base.extract(TransformedOracle(oracle=oracle, transform=hardened), context, rng=rng)
