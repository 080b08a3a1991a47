from dataclasses import replace

import pytest
import torch

from arena.attacks.functional_equivalence import FunctionalEquivalence
from arena.contracts import BadParameter, Task
from tests.attacks.toy import VICTIMS, ToyOracle, context, play


def network(columns, hidden, classes, *, seed):
    """The logits of a random network of one hidden layer, each unit of which switches in the box."""
    rng = torch.Generator().manual_seed(seed)
    first = 2 * torch.randn(hidden, columns, generator=rng) / columns**0.5
    bias = -(first * torch.rand(hidden, columns, generator=rng)).sum(dim=1)
    last = 2 * torch.randn(classes, hidden, generator=rng) / hidden**0.5
    return lambda inputs: torch.relu(inputs.flatten(1) @ first.T + bias) @ last.T


def extracted(logits, *, columns, classes, budget, released=lambda rows: rows, seed=0, **fields):
    """The oracle, the clone, and what the attack noted."""
    facts = {}
    oracle = ToyOracle(
        lambda inputs: released(logits(inputs).softmax(dim=1)), budget, Task(shape=(columns,), classes=classes)
    )
    terms = replace(context(oracle.task), note=facts.__setitem__)
    clone = FunctionalEquivalence(**fields).extract(oracle, terms, rng=torch.Generator().manual_seed(seed))
    return oracle, clone, facts


def errors(clone, logits, columns):
    """The largest error of a centred logit on each of many uniform rows."""
    inputs = torch.rand(5_000, columns, generator=torch.Generator().manual_seed(99))
    with torch.no_grad():
        difference = (clone(inputs) - logits(inputs)).double()
    return (difference - difference.mean(dim=1, keepdim=True)).abs().amax(dim=1)


@pytest.mark.parametrize(("columns", "hidden", "budget", "seeds"), [(8, 4, 3_000, 5), (16, 8, 6_000, 2)])
def test_copies_a_network_to_the_precision_of_float32(columns, hidden, budget, seeds):
    worst = []
    for seed in range(seeds):
        logits = network(columns, hidden, 3, seed=seed)
        oracle, clone, facts = extracted(logits, columns=columns, classes=3, budget=budget, seed=seed)
        assert facts["units"] == hidden
        assert oracle.remaining > 0
        worst.append(float(errors(clone, logits, columns).max()))
    assert max(worst) <= 1e-3
    assert sorted(worst)[len(worst) // 2] <= 1e-4


def test_no_unit_is_missed_that_lines_between_uniform_points_do_not_meet():
    """A unit that switches near a corner of the box is met by lines through vertices."""
    plain = network(8, 4, 3, seed=0)
    normal = torch.ones(8)

    def logits(inputs):
        corner = torch.relu(inputs.flatten(1) @ normal - 6.5)
        return plain(inputs) + torch.stack([3 * corner, -corner, 0 * corner], dim=1)

    _, clone, facts = extracted(logits, columns=8, classes=3, budget=6_000)
    assert facts["units"] == 5
    assert float((clone(torch.ones(1, 8)) - logits(torch.ones(1, 8))).detach().softmax(dim=1).std()) < 1e-4


def test_two_classes_are_enough():
    logits = network(6, 3, 2, seed=1)
    oracle, clone, _ = extracted(logits, columns=6, classes=2, budget=4_000)
    assert oracle.remaining > 0
    assert float(errors(clone, logits, 6).max()) <= 1e-3


@pytest.mark.parametrize(
    "released",
    [
        lambda rows: (100 * rows).round() / 100,
        lambda rows: torch.eye(3)[rows.argmax(dim=1)],
        lambda rows: (rows.log() + 1e-3 * torch.randn(rows.shape)).softmax(dim=1),
    ],
    ids=["rounded", "labels", "noisy"],
)
def test_inexact_answers_are_noticed_early_and_every_row_is_used_for_a_fit(released):
    logits = network(8, 4, 3, seed=0)
    oracle, clone, facts = extracted(logits, columns=8, classes=3, budget=400, released=released)
    assert oracle.remaining == 0
    assert facts["units"] == 0
    inputs = torch.rand(500, 8)
    with torch.no_grad():
        agreed = (clone(inputs).argmax(dim=1) == logits(inputs).argmax(dim=1)).float().mean()
    assert float(agreed) > 0.8


def test_a_budget_that_ends_too_early_is_spent_and_fitted():
    logits = network(8, 4, 3, seed=0)
    oracle, clone, _ = extracted(logits, columns=8, classes=3, budget=500)
    assert oracle.remaining == 0
    assert float((errors(clone, logits, 8) < 1).float().mean()) > 0.9


def test_a_deeper_network_is_not_taken_for_a_shallow_one():
    rng = torch.Generator().manual_seed(0)
    weights = [torch.randn(6, 6, generator=rng) for _ in range(3)]

    def logits(inputs):
        hidden = torch.relu((inputs - 0.5) @ weights[0])
        return (torch.relu(hidden @ weights[1] - 0.3) @ weights[2])[:, :3]

    oracle, clone, _ = extracted(logits, columns=6, classes=3, budget=3_000)
    assert oracle.remaining == 0
    inputs = torch.rand(500, 6)
    with torch.no_grad():
        agreed = (clone(inputs).argmax(dim=1) == logits(inputs).argmax(dim=1)).float().mean()
    assert float(agreed) > 0.8


@pytest.mark.parametrize("budget", [1, 36, 100])
def test_the_smallest_budgets_are_spent(budget):
    oracle = ToyOracle(VICTIMS["softmax_victim"], budget)
    play(FunctionalEquivalence(), oracle)
    assert oracle.remaining == 0


@pytest.mark.parametrize("refuse_every", [1, 3])
def test_refused_rows_are_no_evidence(refuse_every):
    oracle = ToyOracle(VICTIMS["softmax_victim"], 200, refuse_every=refuse_every)
    play(FunctionalEquivalence(), oracle)
    assert oracle.remaining == 0


def test_a_linear_model_has_no_unit_and_is_solved_exactly():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 3_000)
    clone = play(FunctionalEquivalence(), oracle)
    inputs = torch.rand(500, 6)
    with torch.no_grad():
        assert float((clone(inputs).softmax(dim=1) - VICTIMS["softmax_victim"](inputs)).abs().max()) < 1e-5
    assert oracle.remaining > 0


def test_what_cannot_be_is_refused():
    with pytest.raises(BadParameter, match="at least 1"):
        FunctionalEquivalence(quiet=0)
