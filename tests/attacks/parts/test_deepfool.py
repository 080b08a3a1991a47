import pytest
import torch
from torch import nn

from arena.attacks.parts.deepfool import boundary_distances
from arena.contracts import Task
from arena.learning.architectures import build
from tests.attacks.toy import IMAGES


def linear(weights, bias=None):
    layer = nn.Linear(len(weights[0]), len(weights))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights))
        layer.bias.copy_(torch.tensor(bias or [0.0] * len(weights)))
    return layer.eval()


def test_the_distance_to_the_face_of_two_linear_classes_by_hand():
    network = linear([[3.0, 0.0], [0.0, 4.0]])  # at (1, 0.5): f = 3 - 2 = 1, w = (-3, 4), so 1 / 5
    found = boundary_distances(network, torch.tensor([[1.0, 0.5]]), iterations=10)
    assert float(found) == pytest.approx(0.2, rel=0.03)


def test_the_nearest_of_several_faces_is_taken():
    network = linear([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], [0.0, 0.0, 1.9])
    # At (1, 0): class 0 leads class 1 by 1 along a normal of length sqrt 2, and class 2 by 0.1 along one of 2.
    found = boundary_distances(network, torch.tensor([[1.0, 0.0]]), iterations=10)
    assert float(found) == pytest.approx(0.05, rel=0.03)


def test_the_class_changes_within_the_distance_and_not_before():
    network = build("small-cnn", IMAGES, rng=torch.Generator().manual_seed(0)).eval()
    inputs = torch.rand(200, *IMAGES.shape, generator=torch.Generator().manual_seed(1))
    found = boundary_distances(network, inputs, iterations=30)
    assert bool(found.isfinite().all())
    assert bool((found > 0).all())
    # No random step of half that length changes a class: the distance is near the smallest there is.
    noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(2))
    steps = 0.5 * found.reshape(-1, 1, 1, 1) * noise / noise.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    assert torch.equal(network(inputs + steps).argmax(dim=1), network(inputs).argmax(dim=1))


def test_a_row_is_as_far_alone_as_among_others():
    network = build("mlp", Task(shape=(6,), classes=3), rng=torch.Generator().manual_seed(0)).eval()
    inputs = torch.rand(300, 6, generator=torch.Generator().manual_seed(1))
    together = boundary_distances(network, inputs, iterations=10)
    assert float(boundary_distances(network, inputs[250:251], iterations=10)) == pytest.approx(float(together[250]))


def test_without_a_gradient_there_is_no_boundary():
    found = boundary_distances(linear([[0.0, 0.0], [0.0, 0.0]]), torch.rand(3, 2), iterations=10)
    assert found.tolist() == [torch.inf] * 3


def test_a_row_on_the_boundary_is_pushed_over_it():
    found = boundary_distances(linear([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.5, 0.5]]), iterations=10)
    assert 0 < float(found) < 1e-3
