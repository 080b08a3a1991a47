import pytest
import torch

from arena.attacks.cam_matching import CamMatching, differentiable_maps, directions, map_distance
from arena.attacks.knockoff import KnockoffNets
from arena.contracts import BadParameter, Task
from arena.explanations.grad_cam import GradCam
from arena.explanations.gradient_input import GradientInput
from arena.learning.architectures import build
from tests.attacks.toy import IMAGES, TABLE, VICTIMS, ToyOracle, context, digest, play


def rows(task, number=6):
    return torch.rand(number, *task.shape, generator=torch.Generator().manual_seed(0))


def clone(arch="small-cnn", task=IMAGES):
    return build(arch, task, rng=torch.Generator().manual_seed(1)).eval()


def test_directions_by_hand():
    found = directions(torch.tensor([[[1.0, 3.0], [1.0, 3.0]], [[2.0, 2.0], [2.0, 2.0]]]))
    assert torch.allclose(found, torch.tensor([[-0.5, 0.5, -0.5, 0.5], [0.0, 0.0, 0.0, 0.0]]))


def test_neither_scale_nor_offset_counts():
    maps = torch.rand(3, 4, 4)
    assert torch.allclose(directions(maps), directions(7 * maps - 2), atol=1e-5)


def test_a_map_of_another_size_is_brought_to_that_of_the_oracle():
    assert directions(torch.rand(2, 4, 4), like=torch.zeros(2, 8, 8)).shape == (2, 64)


def test_the_distance_leaves_out_maps_that_say_nothing():
    wanted = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert float(map_distance(torch.tensor([[0.6, 0.8], [0.0, 1.0]]), wanted)) == pytest.approx(0.4)
    assert float(map_distance(torch.zeros(1, 2), torch.zeros(1, 2))) == 0.0


@pytest.mark.parametrize(("kind", "explanation"), [("gradient-input", GradientInput()), ("grad-cam", GradCam())])
def test_the_clones_maps_are_those_of_the_explanation_and_can_be_trained_through(kind, explanation):
    network, inputs, classes = clone(), rows(IMAGES), torch.arange(6) % 4
    maps = differentiable_maps(network, kind, IMAGES)(inputs, classes)
    theirs = explanation.deploy(network, inputs, rng=torch.Generator())(inputs, classes)
    assert torch.allclose(maps.detach(), theirs, atol=1e-5)
    gradients = torch.autograd.grad(maps.square().sum(), list(network.parameters()), allow_unused=True)
    assert any(gradient is not None and float(gradient.abs().max()) > 0 for gradient in gradients)


def test_the_map_of_a_softmax_of_a_linear_model_by_hand():
    """For probabilities dp_c / dx = p_c (w_c - sum_j p_j w_j); for logits, which are explained here, it is w_c."""
    network, inputs, classes = clone("linear", TABLE), rows(TABLE), torch.arange(6) % 3
    weights = next(module for module in network.modules() if isinstance(module, torch.nn.Linear)).weight
    maps = differentiable_maps(network, "gradient-input", TABLE)(inputs, classes)
    assert torch.allclose(maps, inputs * weights[classes])


def test_a_budget_buys_explained_rows_and_a_plain_one_with_what_is_left():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 11, IMAGES, explanation_price=3)
    play(CamMatching(steps=5), oracle)
    assert [(len(call), explained) for call, explained in zip(oracle.calls, oracle.explained, strict=True)] == [
        (2, True),
        (3, False),
    ]
    assert oracle.remaining == 0


def test_with_free_explanations_and_no_weight_it_is_random_queries_bit_for_bit():
    def stolen(attack):
        oracle = ToyOracle(VICTIMS["softmax_victim"], 60, IMAGES, explanation_price=0)
        return digest(play(attack, oracle)), oracle.transcript

    # The same draws in the same order: choice, then weights, then batches.
    assert stolen(CamMatching(weight=0.0, steps=20)) == stolen(KnockoffNets(steps=20))
    assert stolen(CamMatching(weight=1.0, steps=20))[0] != stolen(KnockoffNets(steps=20))[0]


def test_the_maps_tell_a_linear_model_its_weights():
    """One explained row of each class gives that row of the weights: a clone of few rows has their direction."""
    task = Task(shape=(1, 4, 4), classes=3)
    victim = clone("linear", task)
    layer = next(module for module in victim.modules() if isinstance(module, torch.nn.Linear))
    with torch.no_grad():
        layer.weight.mul_(8)
    explain = GradientInput().deploy(victim, rows(task), rng=torch.Generator())

    class Explained(ToyOracle):
        def query(self, inputs, *, explain=False, account=0):
            answer = super().query(inputs, explain=explain, account=account)
            if explain:
                object.__setattr__(answer, "explanations", explained(inputs, answer.posteriors.argmax(dim=1)))
            return answer

    def explained(inputs, classes):
        return explain(inputs, classes)

    def answers(inputs):
        return victim(inputs).detach().softmax(dim=1)

    def similarity(weight):
        oracle = Explained(answers, 24, task)
        stolen = play(CamMatching(arch="linear", weight=weight, steps=400), oracle)
        weights = next(module for module in stolen.modules() if isinstance(module, torch.nn.Linear)).weight.detach()
        centred = [part - part.mean(dim=0) for part in (weights, layer.weight.detach())]
        return float(torch.nn.functional.cosine_similarity(*(part.flatten() for part in centred), dim=0))

    assert similarity(3.0) > similarity(0.0)


def test_a_clone_that_cannot_have_such_maps_is_refused_before_anything_is_spent():
    oracle = ToyOracle(VICTIMS["softmax_victim"], 20, IMAGES, explanation="grad-cam")
    with pytest.raises(BadParameter, match="0 convolutional activations"):
        CamMatching(arch="mlp").extract(oracle, context(IMAGES), rng=torch.Generator().manual_seed(0))
    assert oracle.remaining == 20


@pytest.mark.parametrize("wrong", [{"weight": -1.0}, {"ramp": 0}])
def test_what_cannot_be_is_a_bad_parameter(wrong):
    with pytest.raises(BadParameter):
        CamMatching(**wrong)
