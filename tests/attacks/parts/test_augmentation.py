import pytest
import torch

from arena.attacks.parts.augmentation import image_view, table_view


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_is_an_image_of_the_same_shape_that_the_seed_decides(channels):
    images = torch.rand(50, channels, 12, 10, generator=rng())
    view = image_view(images, crop=0.2, flip=True, rng=rng(1))
    assert view.shape == images.shape
    assert 0 <= float(view.min()) <= float(view.max()) <= 1
    assert torch.equal(view, image_view(images, crop=0.2, flip=True, rng=rng(1)))
    changed = (view - images).abs().flatten(1).amax(dim=1)
    assert float(changed.min()) > 0


def test_views_differ_more_between_images_than_of_one_image():
    images = torch.rand(20, 1, 2, 2, generator=rng()).repeat_interleave(6, dim=2).repeat_interleave(6, dim=3)
    one, other = (image_view(images, crop=0.8, flip=False, rng=rng(seed)) for seed in (1, 2))
    apart = (one.unsqueeze(1) - other.unsqueeze(0)).flatten(2).norm(dim=2)
    assert float(apart.diagonal().mean()) < 0.6 * float(apart.mean())


def test_a_crop_is_a_part_of_the_image_and_is_turned_round_only_if_asked():
    ramp = torch.linspace(0.2, 0.6, 16).expand(200, 1, 16, 16)
    steps = image_view(ramp, crop=0.3, flip=False, rng=rng()).diff(dim=3)
    assert float(steps.min()) >= -1e-6  # it still rises from left to right
    turned = image_view(ramp, crop=0.3, flip=True, rng=rng()).diff(dim=3).mean(dim=(1, 2, 3)) < 0
    assert 60 < int(turned.sum()) < 140


def test_light_leaves_a_fifth_of_the_images_as_they_are():
    grey = torch.full((1000, 1, 4, 4), 0.5)  # whatever crop
    same = (image_view(grey, crop=1.0, flip=False, rng=rng()) == 0.5).flatten(1).all(dim=1)
    assert 150 < int(same.sum()) < 250


def test_a_fifth_of_the_rgb_images_are_grey():
    red = torch.tensor([0.6, 0.2, 0.1]).reshape(1, 3, 1, 1).expand(1000, 3, 4, 4)
    views = image_view(red, crop=1.0, flip=False, rng=rng())
    assert 150 < int(((views[:, 0] - views[:, 1]).abs().flatten(1).amax(dim=1) < 1e-6).sum()) < 250


def test_table_values_come_from_their_own_column():
    rows = torch.arange(300.0).reshape(100, 3)
    view = table_view(rows, corruption=0.4, rng=rng())
    for column in range(3):
        assert set(view[:, column].tolist()) <= set(rows[:, column].tolist())
    assert 0.3 < float((view != rows).float().mean()) < 0.5
    assert torch.equal(table_view(rows, corruption=0.0, rng=rng()), rows)
