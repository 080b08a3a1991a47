"""A wrapper's last clone starts afresh: one that went on from its base's would win by the additional steps alone."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Generator, nn

from arena.attacks.benign_mix import BenignMix
from arena.attacks.confidence_filter import ConfidenceFilter
from arena.attacks.recovery_network import RecoveryNetwork
from arena.attacks.recovery_table import RecoveryTable
from arena.attacks.swiftthief import SwiftThief
from arena.contracts import Attack, AttackContext, Oracle
from arena.learning.architectures import architecture_of, build
from arena.learning.training import counted_steps
from tests.attacks.toy import TABLE, ToyOracle, context, softmax_victim


@dataclass(frozen=True, kw_only=True)
class Returns(Attack):
    """Asks what it may, and returns a clone whose weights are ``scale`` times the initial ones."""

    scale: float

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        oracle.query(context.pool[: oracle.remaining])
        clone = build("mlp-7", oracle.task, rng=rng)
        with torch.no_grad():
            for weights in clone.parameters():
                weights *= self.scale
        return clone.eval()


@pytest.mark.parametrize(
    "wrapper",
    [
        lambda base: BenignMix(base=base, steps=20),
        lambda base: ConfidenceFilter(base=base, steps=20, second=0.0),
        lambda base: RecoveryTable(base=base, steps=20),
        lambda base: RecoveryNetwork(base=base, steps=20),
    ],
    ids=["benign-mix", "confidence-filter", "recovery-table", "recovery-network"],
)
def test_the_last_clone_does_not_depend_on_the_weights_of_the_bases(wrapper):
    def clone_of(scale):
        oracle = ToyOracle(softmax_victim, 40)
        return wrapper(Returns(scale=scale)).extract(oracle, context(), rng=torch.Generator().manual_seed(0))

    first, second = clone_of(1.0), clone_of(50.0)
    assert all(torch.equal(*pair) for pair in zip(first.parameters(), second.parameters(), strict=True))
    assert architecture_of(first, TABLE) == "mlp-7"


def test_steps_before_the_last_round_count_for_a_clone_that_keeps_what_they_taught():
    def steps_of(rounds):
        attack = SwiftThief(rounds=rounds, steps=50, steps_inner=5, epochs=1, last_epochs=1, unlabelled=8, batch=4)
        with counted_steps() as steps:
            attack.extract(ToyOracle(softmax_victim, 20), context(), rng=torch.Generator().manual_seed(0))
        return steps.taken

    assert steps_of(1) == steps_of(4) == 50
