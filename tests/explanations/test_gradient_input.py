import torch

from arena.contracts import Task
from arena.explanations.gradient_input import GradientInput
from arena.learning.architectures import build

TABLE, IMAGES = Task(shape=(6,), classes=3), Task(shape=(2, 8, 8), classes=4)


def rows(task, number=5):
    return torch.rand(number, *task.shape, generator=torch.Generator().manual_seed(0))


def explainer(arch, task):
    network = build(arch, task, rng=torch.Generator().manual_seed(1)).eval()
    return network, GradientInput().deploy(network, rows(task), rng=torch.Generator())


def test_the_map_of_a_linear_model_is_input_times_weight():
    network, explain = explainer("linear", TABLE)
    classes = torch.tensor([0, 1, 2, 0, 1])
    weights = next(module for module in network.modules() if isinstance(module, torch.nn.Linear)).weight.detach()
    assert torch.allclose(explain(rows(TABLE), classes), rows(TABLE) * weights[classes])


def test_channels_are_summed_and_signs_kept():
    _, explain = explainer("small-cnn", IMAGES)
    maps = explain(rows(IMAGES), torch.zeros(5, dtype=torch.int64))
    assert maps.shape == (5, 8, 8)
    assert float(maps.min()) < 0 < float(maps.max())


def test_a_map_is_the_same_beside_any_other_row_and_of_a_frozen_network():
    network, explain = explainer("small-cnn", IMAGES)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    inputs, classes = rows(IMAGES, 300), torch.arange(300) % 4
    together = explain(inputs, classes)
    assert torch.allclose(explain(inputs[7:9], classes[7:9]), together[7:9], atol=1e-6)
    assert all(parameter.grad is None for parameter in network.parameters())
