from dataclasses import replace

import pytest
import torch

from arena.contracts import BadParameter, NeedUnmet, QueryBatch
from arena.defenses.gradient_redirection import (
    GradientRedirection,
    all_ones_costs,
    away_costs,
    last_layer_costs,
    redirected,
)
from arena.learning.architectures import build
from arena.learning.training import predict
from tests.defenses.toy import LinearVictim, context, deployed, inputs

Y, P = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.2, 0.3, 0.5]])
TASK = LinearVictim().task


def network(arch, seed=0):
    return build(arch, TASK, rng=torch.Generator().manual_seed(seed)).eval()


def gradients(surrogate, row, rows):
    """(len(rows), parameters): the gradient of each row's log likelihood at one input."""
    found = []
    for target in rows:
        value = (target * surrogate(row.unsqueeze(0)).log_softmax(dim=1)).sum()
        found.append(torch.cat([part.flatten() for part in torch.autograd.grad(value, list(surrogate.parameters()))]))
    return torch.stack(found)


def test_away_from_the_honest_gradient_by_hand():
    costs = last_layer_costs(Y, P)
    assert torch.allclose(costs, torch.tensor([[0.5, -0.1, -0.4]]).double())
    rows = redirected(Y, costs, epsilon=0.4, preserve_argmax=False)
    assert torch.allclose(rows, torch.tensor([[0.5, 0.2, 0.3]]).double())


def test_a_large_distance_moves_the_argmax_unless_it_is_kept():
    costs = last_layer_costs(Y, P)
    assert redirected(Y, costs, epsilon=1.0, preserve_argmax=False).argmax() == 2
    kept = redirected(Y, costs, epsilon=1.0, preserve_argmax=True)
    assert kept.argmax() == 0
    assert torch.allclose(kept, torch.full((1, 3), 1 / 3).double(), atol=1e-5)


@pytest.mark.parametrize("arch", ["mlp", "linear"])
def test_the_costs_of_a_row_are_products_of_gradients(arch):
    surrogate, asked = network(arch), inputs(5)
    y = torch.randn(5, TASK.classes, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
    ones, away = all_ones_costs(surrogate, asked), away_costs(surrogate, asked, y)
    assert not ones.requires_grad
    assert not away.requires_grad
    for row in range(5):
        of_classes = gradients(surrogate, asked[row], torch.eye(TASK.classes))
        honest = gradients(surrogate, asked[row], y[row : row + 1])[0]
        assert torch.allclose(ones[row], -of_classes.sum(dim=1), atol=1e-4)
        assert torch.allclose(away[row], of_classes @ honest, atol=1e-5)


def test_of_a_linear_network_all_layers_are_the_last():
    surrogate, asked = network("linear"), inputs(5)
    y = LinearVictim()(asked)
    squares = asked.double().square().sum(dim=1, keepdim=True) + 1  # the bias has an input of 1
    costs = squares * last_layer_costs(y, predict(surrogate, asked))
    every = away_costs(surrogate, asked, y).double()
    assert torch.allclose(every - every.mean(dim=1, keepdim=True), costs - costs.mean(dim=1, keepdim=True), atol=1e-5)


def test_the_released_gradient_sums_to_more_than_the_honest_one():
    here, asked = context(), inputs()
    costs = all_ones_costs(here.surrogate, asked)
    rows = deployed(GradientRedirection(epsilon=0.5))(asked)
    assert bool(((rows * costs).sum(dim=1) < (LinearVictim()(asked) * costs).sum(dim=1)).all())


def test_a_target_that_no_row_can_follow_leaves_the_clean_rows():
    blind = replace(context(), surrogate=network("linear"))
    asked = inputs()
    respond = GradientRedirection().deploy(blind, {}, rng=torch.Generator())
    assert torch.equal(respond(QueryBatch(inputs=asked)).posteriors, LinearVictim()(asked))


def test_the_last_layer_alone_cannot_follow_all_ones():
    with pytest.raises(BadParameter, match="layers = all"):
        GradientRedirection(layers="last")


@pytest.mark.parametrize("epsilon", [-0.1, 2.1])
def test_a_distance_that_no_two_rows_have_is_a_bad_parameter(epsilon):
    with pytest.raises(BadParameter, match="apart"):
        GradientRedirection(epsilon=epsilon)


def test_without_a_surrogate_the_need_is_named():
    with pytest.raises(NeedUnmet, match="surrogate"):
        GradientRedirection().deploy(replace(context(), surrogate=None), {}, rng=torch.Generator())


@pytest.mark.parametrize("target", ["all-ones", "away"])
def test_the_surrogate_itself_is_never_given_other_weights(target):
    """Other matches use it at the same time, in other threads."""
    here = context()
    last = [module for module in here.surrogate.modules() if isinstance(module, torch.nn.Linear)][-1]
    weight, found = last.weight, []
    last.register_forward_pre_hook(lambda module, _: found.append(module.weight is weight) if module is last else None)
    respond = GradientRedirection(target=target).deploy(here, {}, rng=torch.Generator())
    respond(QueryBatch(inputs=inputs(5)))
    assert all(found)
