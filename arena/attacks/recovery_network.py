"""Guess the defense, apply it to the attacker's own answers, and train a network to undo it.

Source: Chen, Guan, Gong, Dong, Xue, "D-DAE: Defense-Penetrating Model Extraction Attacks", IEEE S&P 2023: a
meta-classifier of defenses over shadow models, and a recovery network.
Departures: There are a few shadow models, trained on the queried labels, instead of 20. The defense is recognised by
statistics of its answers instead of a trained classifier. The network learns the difference from its input row, and
keeps the argmax if the defense does.
A blind attacker guesses methods with other parameters than any that is played by default, so it rarely has the defense
itself. One that knows it is an informed matchup.
Published number: none on equal terms. Reproduced: direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Generator, Tensor, nn

from arena.attacks.parts.recovery import RecoveryAttack, Restore
from arena.contracts import AttackContext
from arena.learning.architectures import drawn_from
from arena.learning.randomness import child
from arena.learning.training import fit, predict

LOWEST_POSTERIOR = 1e-4
"""Released rows are clipped here before their logarithm: smaller numbers say next to nothing about the clean row."""


@dataclass(frozen=True, kw_only=True)
class RecoveryNetwork(RecoveryAttack):
    """The network has two layers of ``hidden`` units and trains for ``iterations`` steps.

    The other fields are those of `arena.attacks.parts.recovery.RecoveryAttack`.
    """

    hidden: int = 64
    iterations: int = 3_000

    def undoing(self, defended: Tensor, clean: Tensor, context: AttackContext, *, rng: Generator) -> Restore:
        """Train the network on the pairs."""
        with drawn_from(rng):
            network = RecoveryNet(clean.shape[1], hidden=self.hidden).to(context.device)
        fit(network, defended, clean, steps=self.iterations, rng=child(rng), time_left=context.time_left)
        return partial(predict, network)


class RecoveryNet(nn.Module):
    """Maps rows (N, K) to the logits (N, K) of the clean rows: the logarithm of the row plus a learnt difference."""

    def __init__(self, classes: int, *, hidden: int) -> None:
        super().__init__()
        self.difference = nn.Sequential(
            nn.Linear(classes, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes)
        )

    def forward(self, rows: Tensor) -> Tensor:
        difference: Tensor = self.difference(rows)
        return rows.clamp(min=LOWEST_POSTERIOR).log() + difference
