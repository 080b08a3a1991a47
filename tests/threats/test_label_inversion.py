import math

import pytest
import torch

from arena.contracts import BadParameter
from arena.threats.label_inversion import LabelOnlyInversion, evidence_bound
from tests.attacks.toy import ToyOracle
from tests.threats.test_inversion import TASK, answered, clone, halves, judged
from tests.threats.toy import threat_context


def bought(rows=60):
    """Noisy halves and the rows that were released for them."""
    inputs, _ = halves()
    noise = 0.2 * torch.rand(rows, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    asked = (inputs[torch.arange(rows) % 2] * 0.8 + noise).clamp(0, 1)
    return asked, answered(asked)


def test_what_comes_out_looks_like_what_the_victim_gave_the_label_to():
    inputs, labels = halves()
    context = threat_context(inputs, labels, bought=bought(), judge=answered)
    oracle = ToyOracle(answered, 9, TASK)
    threat = LabelOnlyInversion(latent=2, hidden=16, steps=300, samples=10, lr=1e-2)
    found = threat.assess(clone(), oracle, context, rng=torch.Generator().manual_seed(0))
    assert judged(found) == {"victim": (8, 8), "judge": (8, 8), "nearest": (8, 8)}
    assert found.counts["classes"] == (2, 2)
    assert found.counts["echo/judge"] == found.counts["echo/nearest"] == (8, 8)
    assert found.counts["untrained/judge"].total == 8
    assert oracle.remaining == 1  # four a class, and one that would be half of a row more
    assert found.grid is not None
    assert found.grid.shape == (5, 2, 1, 4, 4)


def test_labels_alone_give_the_same_as_scores():
    inputs, labels = halves()
    asked, released = bought()
    threat = LabelOnlyInversion(latent=2, hidden=8, steps=20, samples=4, asked=2)

    def measured(rows):
        context = threat_context(inputs, labels, bought=(asked, rows))
        oracle = ToyOracle(answered, 4, TASK)
        return threat.assess(clone(), oracle, context, rng=torch.Generator().manual_seed(0)).measures

    hard = torch.nn.functional.one_hot(released.argmax(dim=1), 2).float()
    assert measured(hard) == measured(released)


def test_nothing_that_was_answered_leaves_nothing_to_learn_from():
    inputs, labels = halves()
    context = threat_context(inputs, labels, bought=(bought()[0], torch.zeros(60, 2)))
    oracle = ToyOracle(answered, 9, TASK)
    found = LabelOnlyInversion().assess(clone(), oracle, context, rng=torch.Generator().manual_seed(0))
    assert (found.counts, oracle.remaining) == ({}, 9)


def test_the_bound_by_hand():
    zeros = torch.zeros(1, 2)
    told = evidence_bound(zeros, torch.tensor([[1.0, 0.0]]), torch.zeros(1, 1), torch.zeros(1, 1))
    assert float(told) == pytest.approx(2 * math.log(2))
    moved = evidence_bound(zeros, torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0]]), torch.tensor([[math.log(4.0)]]))
    assert float(moved) == pytest.approx(2 * math.log(2) + 0.5 * (4 + 4 - 1 - math.log(4)), rel=1e-6)


def test_fewer_samples_than_are_asked_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="samples at least asked"):
        LabelOnlyInversion(samples=3)
