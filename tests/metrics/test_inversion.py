import torch

from arena.metrics.inversion import class_means, mean_correlations


def test_the_means_of_classes_by_hand_and_of_one_without_rows():
    inputs = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    means = class_means(inputs, torch.tensor([0, 0, 2]), classes=3)
    assert torch.allclose(means, torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]))
    means = class_means(inputs, torch.tensor([0, 1, 1]), classes=2)
    assert torch.allclose(means, torch.tensor([[0.0, 1.0], [0.75, 0.25]]))


def test_a_correlation_by_hand():
    found = mean_correlations(torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[0.2, 0.4, 0.6], [1.0, 0.0, 0.5]]))
    assert torch.allclose(found, torch.tensor([[1.0, -0.5]], dtype=torch.float64))


def test_brightness_and_contrast_do_not_count():
    means = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    means[0] *= 0.1  # the darkest class, to which every faint image is the least distant
    faint = 0.2 * means + 0.05
    assert torch.equal(mean_correlations(faint, means).argmax(dim=1), torch.arange(5))


def test_a_constant_image_resembles_nothing():
    flat = torch.full((1, 7), 0.1)
    assert mean_correlations(flat, torch.rand(3, 7)).tolist() == [[0.0, 0.0, 0.0]]
