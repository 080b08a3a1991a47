import torch

from arena.attacks.parts.clustering import k_means, nearest_centre, principal_components


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_components_are_those_of_the_exact_decomposition():
    scales = torch.tensor([9.0, 5.0, 3.0] + [0.1] * 17)
    rows = torch.randn(400, 20, generator=rng()) * scales + 7
    found = principal_components(rows, 3, rng=rng(1))
    exact = torch.linalg.svd(rows - rows.mean(dim=0), full_matrices=False).Vh[:3].T
    assert found.shape == (20, 3)
    assert torch.allclose(found.T @ found, torch.eye(3), atol=1e-5)
    assert torch.allclose((found.T @ exact).diagonal().abs(), torch.ones(3), atol=1e-4)


def test_there_are_no_more_components_than_rows_or_columns():
    assert principal_components(torch.rand(1, 6, generator=rng()), 50, rng=rng()).shape == (6, 1)
    assert principal_components(torch.rand(100, 6, generator=rng()), 50, rng=rng()).shape == (6, 6)


def test_separate_heaps_are_found():
    corners = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    heaps = corners.repeat_interleave(50, dim=0) + 0.1 * torch.randn(150, 2, generator=rng())
    centres = k_means(heaps, 3, rng=rng(1))
    groups = nearest_centre(heaps, centres).reshape(3, 50)
    assert bool((groups == groups[:, :1]).all())
    assert len(groups[:, 0].unique()) == 3
    assert torch.allclose(centres[groups[0, 0]], heaps[:50].mean(dim=0), atol=1e-5)


def test_there_are_no_more_groups_than_distinct_points():
    points = torch.tensor([[1.0], [2.0]]).repeat(40, 1)
    assert sorted(k_means(points, 8, rng=rng()).flatten().tolist()) == [1.0, 2.0]
    assert len(k_means(points[:1], 8, rng=rng())) == 1


def test_the_seed_decides_the_groups():
    points = torch.rand(300, 5, generator=rng())
    assert torch.equal(k_means(points, 8, rng=rng(1)), k_means(points, 8, rng=rng(1)))
