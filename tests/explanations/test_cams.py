"""What every class activation map does, its formula by hand, and captum's answers where it has the method."""

import pytest
import torch
from captum.attr import InputXGradient, LayerGradCam
from torch import nn

from arena.contracts import BadParameter, Task
from arena.explanations.grad_cam import GradCam, class_activation_map
from arena.explanations.gradient_input import GradientInput
from arena.explanations.libra_cam import LibraCam, accepted, base_maps, unit_range
from arena.explanations.relevance_cam import RelevanceCam, contrastive, relevances, shared_out
from arena.learning.architectures import build
from arena.learning.chains import chain, split_after_convolution

TASK = Task(shape=(1, 16, 16), classes=4)
ARCHITECTURES = ("small-cnn", "medium-cnn", "bench-cnn", "lenet", "resnet18")


def network(arch="small-cnn", task=TASK):
    return build(arch, task, rng=torch.Generator().manual_seed(1)).eval()


def rows(number=5, task=TASK, seed=0):
    return torch.rand(number, *task.shape, generator=torch.Generator().manual_seed(seed))


def deployed(explanation, module):
    return explanation.deploy(module, rows(40, seed=9), rng=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("explanation", [GradientInput(), GradCam(), RelevanceCam(), LibraCam(references=6)], ids=repr)
class TestEveryExplanation:
    def test_maps_are_finite_one_a_row_and_the_same_beside_any_other(self, explanation, arch):
        module = network(arch)
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        inputs, classes = rows(12), torch.arange(12) % 4
        explain = deployed(explanation, module)
        maps = explain(inputs, classes)
        assert maps.dtype == torch.float32
        assert len(maps) == 12
        assert maps.dim() == 3
        assert bool(maps.isfinite().all())
        assert not maps.requires_grad
        assert torch.allclose(explain(inputs[5:7], classes[5:7]), maps[5:7], atol=1e-5)
        assert not any(module._forward_hooks for module in network(arch).modules())

    def test_another_class_is_explained_otherwise(self, explanation, arch):
        explain = deployed(explanation, network(arch))
        one, other = (explain(rows(), torch.full((5,), label)) for label in (0, 1))
        assert not torch.allclose(one, other)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_chain_gives_the_networks_logits(arch):
    module = network(arch)
    split = split_after_convolution(module)
    with torch.no_grad():
        assert torch.allclose(split.top(split.bottom(rows())), module(rows()), atol=1e-5)


def test_the_cut_counts_from_the_end():
    split = split_after_convolution(network(), back=2)
    assert split.bottom(rows()).shape == (5, 8, 8, 8)
    assert split_after_convolution(network("resnet18"), back=8).bottom(rows()).shape[1] == 64
    with pytest.raises(BadParameter, match="small-cnn has 2 convolutional activations, but number 3"):
        split_after_convolution(network(), back=3)


@pytest.mark.parametrize("explanation", [GradCam(), RelevanceCam(), LibraCam()])
def test_a_network_without_a_convolution_is_refused(explanation):
    with pytest.raises(BadParameter, match="use gradient-input"):
        deployed(explanation, network("mlp"))


def test_a_network_that_is_no_chain_is_refused():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(1, 4, 3)

    with pytest.raises(BadParameter, match="Branching is not a chain"):
        deployed(GradCam(), Branching())


def test_grad_cam_by_hand():
    activations = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [3.0, 0.0]]]])
    gradients = torch.stack([torch.full((2, 2), 0.5), torch.full((2, 2), -0.25)]).unsqueeze(0)
    assert torch.equal(class_activation_map(activations, gradients), torch.tensor([[[0.5, 0.0], [0.0, 1.0]]]))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_grad_cam_and_gradient_input_agree_with_captum(arch):
    module, inputs, classes = network(arch), rows(), torch.tensor([0, 1, 2, 3, 0])
    split = split_after_convolution(module)
    whole = nn.Sequential(split.bottom, split.top)
    theirs = LayerGradCam(whole, whole[0]).attribute(inputs, target=classes, relu_attributions=True).squeeze(1)
    assert torch.allclose(deployed(GradCam(), module)(inputs, classes), theirs.detach(), atol=1e-5)
    theirs = InputXGradient(module).attribute(inputs.requires_grad_(True), target=classes).sum(dim=1)
    assert torch.allclose(deployed(GradientInput(), module)(inputs.detach(), classes), theirs.detach(), atol=1e-5)


class TestRelevance:
    def test_starts_for_the_class_and_against_the_others(self):
        start = contrastive(torch.tensor([1, 0]), 3)
        assert torch.equal(start, torch.tensor([[-0.5, 1.0, -0.5], [1.0, -0.5, -0.5]]))

    def test_of_a_linear_layer_by_hand(self):
        """a = (1, 2), w+ = (3, 1) to one output: shares are 3 / 5 and 2 / 5."""
        inputs, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]])
        found = shared_out(lambda values: values @ weight.T, inputs, torch.tensor([[10.0]]))
        assert torch.allclose(found, torch.tensor([[6.0, 4.0]]))

    @pytest.mark.parametrize("arch", ARCHITECTURES)
    @pytest.mark.parametrize("back", [1, 2])
    def test_is_neither_made_nor_lost_on_the_way(self, arch, back):
        split = split_after_convolution(network(arch), back=back)
        with torch.no_grad():
            activations = split.bottom(rows())
        start = torch.zeros(5, 4)
        start[:, 2] = 1.0
        found = relevances(split.top, activations, start)
        assert bool((found >= -1e-6).all())
        assert torch.allclose(found.flatten(1).sum(dim=1), torch.ones(5), atol=1e-3)

    def test_a_layer_without_a_rule_is_refused(self):
        module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(392, 4), nn.Softmax(dim=1))
        with pytest.raises(BadParameter, match="no rule for a layer of class Softmax"):
            deployed(RelevanceCam(), module)


class TestLibra:
    def test_base_map_by_hand(self):
        activations = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [3.0, 0.0]]]])
        gradients = torch.stack([torch.full((2, 2), 0.5), torch.full((2, 2), -0.25)]).unsqueeze(0)
        maps = base_maps(activations, gradients, torch.zeros(1, 2, 2, 2))
        expected = torch.tensor([[0.5, -0.25], [-0.75, 1.0]])
        assert torch.allclose(maps[0, 0], (expected + 0.75) / 1.75)

    def test_a_map_that_is_the_same_everywhere_is_zeros(self):
        assert torch.equal(unit_range(torch.full((1, 1, 2, 2), 3.0)), torch.zeros(1, 1, 2, 2))

    def test_which_maps_count_by_hand(self):
        """Rises .1, .2, .6: mean .3, spread .216, so .1 counts (>= .084) and no fall does; below, .1 falls short."""
        assert accepted(torch.tensor([[0.1, 0.2, 0.6, -0.5]])).tolist() == [[True, True, True, False]]
        # .01, .5, .52: mean .343, spread .236, so .01 falls short of .107
        assert accepted(torch.tensor([[0.01, 0.5, 0.52, -0.5]])).tolist() == [[False, True, True, False]]

    def test_where_nothing_rises_the_outstanding_count_and_else_all(self):
        falls = torch.tensor([[-0.9, -0.9, -0.9, -0.1]])  # mean -.7, spread .346
        assert accepted(falls).tolist() == [[False, False, False, True]]
        assert accepted(torch.full((1, 3), -0.2)).tolist() == [[True, True, True]]

    def test_the_library_comes_from_the_generator(self):
        module = network()
        one, again, other = (
            LibraCam(references=3).deploy(module, rows(40, seed=9), rng=torch.Generator().manual_seed(seed))
            for seed in (0, 0, 1)
        )
        classes = torch.zeros(5, dtype=torch.int64)
        assert torch.equal(one(rows(), classes), again(rows(), classes))
        assert not torch.equal(one(rows(), classes), other(rows(), classes))


def test_a_chain_is_whole():
    assert len(chain(network())) == 8
    assert len(chain(network("resnet18"))) == 4 + 8 + 3
