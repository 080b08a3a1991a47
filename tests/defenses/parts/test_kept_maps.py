from dataclasses import dataclass

import pytest
import torch

from arena.contracts import Explanation, Task
from arena.defenses.parts.kept_maps import Seen, kept_map
from arena.defenses.parts.layer_weights import TOP, named_layers
from arena.explanations.grad_cam import GradCam
from arena.explanations.gradient_input import GradientInput
from arena.explanations.libra_cam import LibraCam
from arena.explanations.relevance_cam import RelevanceCam
from arena.learning.architectures import build
from arena.learning.chains import chain

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
