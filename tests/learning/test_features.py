import torch
from torch import nn

from arena.contracts import Task
from arena.learning.architectures import build
from arena.learning.features import Features, penultimate


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_features_are_what_the_last_layer_turns_into_logits():
    network = build("small-cnn", Task(shape=(1, 8, 8), classes=4), rng=rng()).eval()
    inputs = torch.rand(300, 1, 8, 8, generator=rng(1))
    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    seen = penultimate(network, inputs)
    assert seen.shape == (300, 64)
    with torch.no_grad():
        assert torch.allclose(last(seen), network(inputs), atol=1e-5)


def test_features_have_gradients():
    network = build("mlp", Task(shape=(6,), classes=3), rng=rng())
    features = Features(network)
    features(torch.rand(4, 6, generator=rng(1))).sum().backward()
    assert [parameter.grad is not None for parameter in network.parameters()] == [True, True, False, False]


def test_without_a_linear_layer_the_inputs_are_the_features():
    inputs = torch.rand(3, 1, 4, 4, generator=rng())
    assert torch.equal(penultimate(nn.Conv2d(1, 1, 1).eval(), inputs), inputs.flatten(1))
