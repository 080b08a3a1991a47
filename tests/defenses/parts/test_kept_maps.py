import copy
from dataclasses import dataclass

import pytest
import torch

from arena.contracts import Explanation, Task
from arena.defenses.parts.kept_maps import Seen, kept_map
from arena.defenses.parts.layer_weights import TOP, named_layers, weights_of
from arena.explanations.grad_cam import GradCam
from arena.explanations.gradient_input import GradientInput
from arena.explanations.libra_cam import LibraCam
from arena.explanations.relevance_cam import RelevanceCam
from arena.learning.architectures import build
from arena.learning.chains import chain, split_after_convolution

IMAGES, TABLE = Task(shape=(1, 12, 12), classes=4), Task(shape=(6,), classes=3)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True, kw_only=True)
class Unknown(Explanation):
    def deploy(self, module, references, *, rng):
        raise NotImplementedError


def drawn(kept, network, inputs, label):
    """The kept map of a network, (N, P)."""
    links = torch.nn.Sequential(*chain(network)).requires_grad_(False)
    below, above = links[: kept.place], torch.nn.Sequential(*links[kept.place :])
    values = below(inputs).detach().requires_grad_()
    logits = above(values)
    (slopes,) = torch.autograd.grad(logits.gather(1, label.unsqueeze(1)).sum(), values)
    seen = Seen(
        values=values,
        slopes=slopes,
        label=label,
        classes=logits.shape[1],
        weights={},
        above=named_layers(above, TOP),
        constants=kept.prepare(inputs, label),
    )
    return kept.draw(seen).detach()


@pytest.mark.parametrize("arch", ["small-cnn", "bench-cnn", "resnet18"])
@pytest.mark.parametrize(
    "explanation",
    [GradCam(), GradCam(back=2), GradientInput(), RelevanceCam(), RelevanceCam(back=2), LibraCam(references=5)],
    ids=repr,
)
def test_the_kept_map_is_the_one_that_is_served(arch, explanation):
    network = build(arch, IMAGES, rng=rng()).eval().double()
    inputs, references = (torch.rand(size, *IMAGES.shape, generator=rng(size)).double() for size in (5, 9))
    label = torch.arange(5) % IMAGES.classes
    kept = kept_map(explanation, network, back=1, references=references, rng=rng(3))
    served = explanation.deploy(network, references, rng=rng(3))(inputs, label).flatten(1)
    found = drawn(kept, network, inputs, label)
    assert kept.signed is isinstance(explanation, GradientInput)
    assert torch.allclose(found.float(), served, rtol=1e-4, atol=1e-6 * float(served.abs().max()))


def test_a_table_has_the_map_of_its_columns():
    network, inputs = build("mlp", TABLE, rng=rng()).eval(), torch.rand(5, 6, generator=rng(1))
    label = torch.arange(5) % TABLE.classes
    kept = kept_map(GradientInput(), network, back=1, references=inputs, rng=rng())
    served = GradientInput().deploy(network, inputs, rng=rng())(inputs, label)
    assert torch.allclose(drawn(kept, network, inputs, label), served, atol=1e-6)


@pytest.mark.parametrize("explanation", [None, Unknown()])
def test_where_no_map_that_is_known_is_served_it_is_grad_cam_if_there_is_a_convolution(explanation):
    references = torch.rand(3, *IMAGES.shape, generator=rng())
    network = build("bench-cnn", IMAGES, rng=rng()).eval()
    label = torch.zeros(3, dtype=torch.int64)
    kept = kept_map(explanation, network, back=2, references=references, rng=rng())
    served = GradCam(back=2).deploy(network, references, rng=rng())(references, label).flatten(1)
    assert torch.allclose(drawn(kept, network, references, label), served, atol=1e-6)
    assert kept_map(explanation, build("mlp", IMAGES, rng=rng()), back=1, references=references, rng=rng()) is None


@pytest.mark.parametrize("arch", ["bench-cnn", "resnet18"])
def test_relevance_goes_through_the_weights_of_each_query(arch):
    network = build(arch, IMAGES, rng=rng()).eval().double().requires_grad_(False)
    explanation, inputs = RelevanceCam(back=2), torch.rand(3, *IMAGES.shape, generator=rng(1)).double()
    label = torch.arange(3) % IMAGES.classes
    kept = kept_map(explanation, network, back=1, references=inputs, rng=rng())
    split = split_after_convolution(network, back=2)
    above = named_layers(split.top, TOP)
    weights = {
        name: value + 0.01 * torch.randn(3, *value.shape, generator=rng(2)).double()
        for name, value in weights_of(split).items()
        if name.startswith(TOP) and value.dim() > 1
    }
    empty = inputs.new_empty(3, 0)
    values = split.bottom(inputs)
    seen = Seen(values=values, slopes=None, label=label, classes=4, weights=weights, above=above, constants=empty)
    found = kept.draw(seen)
    for number in range(3):
        own = copy.deepcopy(network)
        for name, value in weights_of(split_after_convolution(own, back=2)).items():
            if name in weights:
                value.copy_(weights[name][number])
        row = slice(number, number + 1)
        served = explanation.deploy(own, inputs, rng=rng())(inputs[row], label[row]).flatten(1)
        assert torch.allclose(found[row].float(), served, rtol=1e-4, atol=1e-6 * float(served.abs().max()))
