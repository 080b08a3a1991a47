import pytest
import torch

from arena.contracts import BadParameter, Task
from arena.defenses.parts.layer_weights import selected, sensitivities, split_of
from arena.learning.architectures import build

TASK = Task(shape=(1, 8, 8), classes=4)


def test_the_layer_that_crosses_the_share_is_taken():
    weights = {f"{part}.{layer}.weight": torch.zeros(1) for part, layer in zip("bbtt", "0202", strict=True)}
    found = [2.7, 13.1, 71.3, 12.9]
    assert selected(weights, found, share=0.9) == ["b.2.weight", "t.0.weight", "t.2.weight"]
    assert selected(weights, found, share=0.7) == selected(weights, found, share=0.5) == ["t.0.weight"]
    assert len(selected(weights, found, share=1.0)) == 4


def test_a_network_is_split_before_any_of_its_layers_with_weights():
    network = build("mlp", TASK, rng=torch.Generator().manual_seed(0)).eval()
    inputs = torch.rand(3, *TASK.shape, generator=torch.Generator().manual_seed(0))
    assert [len(split_of(network, back=back).bottom) for back in (1, 2)] == [3, 1]
    for back in (1, 2):
        split = split_of(network, back=back)
        assert torch.equal(split.top(split.bottom(inputs)), network(inputs))
    with pytest.raises(BadParameter, match="2 layers with weights, but back = 3"):
        split_of(network, back=3)


def test_sensitivity_is_the_mean_l1_norm_of_the_posteriors_gradient():
    network = build("small-cnn", TASK, rng=torch.Generator().manual_seed(0)).eval()
    inputs = torch.rand(3, *TASK.shape, generator=torch.Generator().manual_seed(0))
    split = split_of(network)
    expected = 0.0
    for row in inputs:
        network(row.unsqueeze(0)).softmax(dim=1).amax().backward()
        expected += sum(float(value.grad.abs().sum()) for value in split.top[1].parameters()) / 3
        network.zero_grad()
    assert float(sensitivities(split, inputs)["top.1"]) == pytest.approx(expected, rel=1e-4)
