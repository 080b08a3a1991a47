from dataclasses import replace

import pytest
import torch

from arena.contracts import BadParameter, NeedUnmet, QueryBatch
from arena.defenses.isolation_induction import (
    IsolationInduction,
    flat,
    induction_loss,
    put,
    stealing_gradient,
    without_conflicts,
)
from tests.defenses.toy import context, labelled


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_distance_to_the_thief_by_hand():
    logits = torch.tensor([[0.7, 0.2, 0.1]]).log()
    centred = logits - logits.mean()
    assert float(induction_loss(logits, centred)) == pytest.approx(0.0, abs=1e-6)
    assert float(induction_loss(logits, centred + torch.tensor([[0.3, -0.6, 0.0]]))) == pytest.approx(0.3, abs=1e-6)


def test_the_stealing_gradient_by_hand():
    weight = torch.tensor([0.0], requires_grad=True)
    guess = torch.stack([weight, torch.zeros(1)], dim=1)  # posteriors (1/2, 1/2)
    logits = torch.tensor([[0.8, 0.2]]).log().requires_grad_(True)
    gradient = stealing_gradient(guess, logits, [weight])
    # d/dz_k KL(q || p) = q_k (log(q_k / p_k) - KL); KL = (log(5/8) + log(5/2)) / 2
    assert float(gradient.detach()) == pytest.approx(
        0.5 * (torch.tensor(0.625).log() - torch.tensor(2.5).log()).item() / 2
    )
    assert bool(torch.autograd.grad(gradient.sum(), logits)[0].abs().min() > 0)


def test_a_thief_that_agrees_learns_nothing():
    weight = torch.tensor([1.0], requires_grad=True)
    guess = torch.stack([weight, torch.zeros(1)], dim=1)
    assert float(stealing_gradient(guess, guess.detach() + 3, [weight]).detach()) == pytest.approx(0.0, abs=1e-7)


def test_gradients_that_conflict_are_projected_by_hand():
    conflicting = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    # (1, 0) without its part along (-1, 1) is (1/2, 1/2); (-1, 1) without its part along (1, 0) is (0, 1)
    assert torch.allclose(without_conflicts(conflicting, rng=rng()), torch.tensor([0.5, 1.5]))


def test_gradients_that_agree_are_summed_and_one_of_nothing_changes_nothing():
    gradients = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert torch.allclose(without_conflicts(gradients, rng=rng()), torch.tensor([2.0, 1.0]))


def test_gradients_have_the_memory_format_of_their_weights():
    weight = torch.nn.Parameter(torch.randn(4, 3, 2, 2, generator=rng()).to(memory_format=torch.channels_last))
    bias = torch.nn.Parameter(torch.zeros(4))
    gradient = torch.randn(52, generator=rng(1))
    put([weight, bias], gradient)
    assert weight.grad.stride() == weight.stride()
    assert torch.equal(flat([weight.grad, bias.grad]), gradient)


def answers(defense, here, rows):
    state = defense.train(here, rng=rng())
    return defense.deploy(here, state, rng=rng())(QueryBatch(inputs=rows)).posteriors


def test_answers_on_outliers_are_those_of_a_network_that_knows_nothing():
    here = context()
    plain = IsolationInduction(induction=0.0, isolation=0.0, silence=0.0, steps=200)
    protected = IsolationInduction(steps=200)
    rows, labels = labelled(here.victim, seed=21)
    for defense, sure in ((plain, 0.55), (protected, 0.35)):
        assert (float(answers(defense, here, here.outliers).amax(dim=1).mean()) > 0.5) == (defense is plain)
        assert float((answers(defense, here, rows).argmax(dim=1) == labels).float().mean()) > sure


def test_every_weight_has_its_say():
    here, found = context(), []
    for weight in ("induction", "isolation", "silence", None):
        fields = {name: 0.0 for name in ("induction", "isolation", "silence") if name != weight}
        found.append(flat(list(IsolationInduction(**fields, steps=5).train(here, rng=rng()).values())))
    assert all(not torch.equal(found[-1], one) for one in found[:-1])


@pytest.mark.parametrize("outliers", [None, torch.empty(0, 5)])
def test_without_outliers_the_need_is_named(outliers):
    with pytest.raises(NeedUnmet, match="needs outliers"):
        IsolationInduction().train(replace(context(), outliers=outliers), rng=rng())


@pytest.mark.parametrize("fields", [{"induction": -1.0}, {"isolation": -1.0}, {"silence": -1.0}, {"steps": 0}])
def test_values_that_make_no_sense_are_bad_parameters(fields):
    with pytest.raises(BadParameter, match=next(iter(fields))):
        IsolationInduction(**fields)
