import torch

from arena.metrics.inversion import class_means, mean_distances


def test_the_means_of_classes_by_hand_and_of_one_without_rows():
    inputs = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    means = class_means(inputs, torch.tensor([0, 0, 2]), classes=3)
    assert torch.allclose(means, torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]))
    means = class_means(inputs, torch.tensor([0, 1, 1]), classes=2)
    assert torch.allclose(means, torch.tensor([[0.0, 1.0], [0.75, 0.25]]))


def test_the_distance_is_a_root_mean_square():
    distances = mean_distances(torch.tensor([[[[0.0, 0.0]]]]), torch.tensor([[[[0.3, 0.4]]], [[[1.0, 1.0]]]]))
    assert torch.allclose(distances, torch.tensor([[0.5 / 2**0.5, 1.0]], dtype=torch.float64))
