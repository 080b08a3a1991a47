import pytest
import torch
from torch import nn
from torch.func import functional_call

from arena.defenses.parts.factors import FactoredMatrices, one_row_layers, run

EVERY = torch.ones(3, dtype=torch.bool)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def descended(*, kept=EVERY, steps=4):
    """Return matrices that descended along given gradients, all rows or from the second step on some, and dense ones."""
    matrix, left, right = drawn(5, 7), drawn(3, 5, seed=1), drawn(3, 7, seed=2)
    factored = FactoredMatrices(matrix, left, right, ranks=2, steps=steps, lr=0.3, momentum=0.9)
    dense = nn.Parameter(matrix + torch.einsum("no,ni->noi", left, right))
    sgd = torch.optim.SGD([dense], lr=0.3, momentum=0.9)
    for step in range(steps):
        lefts, rights = drawn(3, 2, 5, seed=10 + step), drawn(3, 2, 7, seed=20 + step)
        factored.step(*((lefts, rights) if step == 0 else (lefts[kept], rights[kept])))
        if step == 0:
            factored.keep(kept)
        dense.grad = torch.einsum("nro,nri->noi", lefts, rights)
        sgd.step()
    return factored, dense.detach()


def test_factors_descend_as_matrices_do():
    factored, dense = descended()
    assert torch.allclose(factored.dense(EVERY), dense)
    inputs = drawn(3, 7, seed=50)
    assert torch.allclose(factored.times(inputs), torch.einsum("noi,ni->no", dense, inputs))
    assert torch.allclose(factored.dense(torch.tensor([False, False, True])), dense[2:])


def test_rows_that_are_kept_go_on_as_they_would_have():
    kept = torch.tensor([False, True, True])
    factored, dense = descended(kept=kept)
    assert torch.allclose(factored.dense(EVERY[:2]), dense[kept])


def test_without_a_step_there_is_the_start():
    factored, dense = descended(steps=0)
    assert torch.allclose(factored.dense(EVERY), dense)


def test_each_row_goes_through_a_chain_with_weights_of_its_own():
    links = [
        ("0.", nn.Conv2d(1, 2, 3)),
        ("1.", nn.Flatten()),
        ("2.", nn.Linear(8, 3)),
        ("3.", nn.Linear(3, 2, bias=False)),
    ]
    network = nn.Sequential(*(link for _, link in links)).double().requires_grad_(False)
    inputs, bias, kernels = drawn(4, 1, 4, 4), drawn(4, 3), drawn(4, 2, 1, 3, 3)
    matrix = FactoredMatrices(
        network[2].weight, drawn(4, 3, seed=1), drawn(4, 8, seed=2), ranks=1, steps=0, lr=1.0, momentum=0.0
    )
    found, rows, outputs = run(links, inputs, {"0.weight": kernels, "2.bias": bias}, {"2.weight": matrix})
    dense = matrix.dense(torch.ones(4, dtype=torch.bool))
    for number in range(4):
        own = {"0.weight": kernels[number], "2.bias": bias[number], "2.weight": dense[number]}
        assert torch.allclose(found[number], functional_call(network, own, (inputs[number : number + 1],))[0])
    assert torch.allclose(outputs["2.weight"], torch.einsum("noi,ni->no", dense, rows["2.weight"]) + bias)


def test_layers_that_see_many_rows_or_stand_twice_are_none_of_one_row():
    twice, single = nn.Linear(6, 6), nn.Linear(6, 2)
    links = [nn.Linear(3, 3), nn.Flatten(), twice, nn.ReLU(), twice, single]
    assert one_row_layers([(f"{place}.", link) for place, link in enumerate(links)], (1, 2, 3)) == ["5."]


@pytest.mark.parametrize("own", [("weight", "bias"), ("weight",), ("bias",)])
@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2, "padding": (1, 2), "dilation": (2, 1)}, {"bias": False}, {"groups": 2}, {"padding": "same"}],
)
def test_a_convolution_has_weights_of_its_own_for_each_row(own, options):
    layer = nn.Conv2d(2, 4, (3, 1), **options).double()
    names = [name for name, _ in layer.named_parameters() if name in own]
    weights = {f"one.{name}": drawn(3, *layer.get_parameter(name).shape, seed=5) for name in names}
    inputs = drawn(3, 2, 9, 8)
    outputs, _, _ = run([("one.", layer)], inputs, weights, {})
    for number in range(3):
        mine = {name: weights[f"one.{name}"][number] for name in names}
        assert torch.allclose(outputs[number], functional_call(layer, mine, (inputs[number : number + 1],))[0])


def test_a_shared_layer_gives_a_row_the_same_bits_whoever_is_beside_it():
    layer, inputs = nn.Linear(300, 40), drawn(23, 300).float()
    together, _, _ = run([("one.", layer)], inputs, {}, {})
    alone = torch.cat([run([("one.", layer)], row, {}, {})[0] for row in inputs.split(1)])
    assert torch.equal(together, alone)
    assert torch.allclose(together, layer(inputs), atol=1e-5)
