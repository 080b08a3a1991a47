import torch

from arena.data.colouring import LEAST_CONTRAST
from arena.data.datasets import load
from arena.data.splits import split


def test_colour_digits_are_the_digits_in_colours_that_do_not_tell_the_class():
    found, grey = load("colour-digits"), load("digits")
    assert found.stored.dtype == torch.uint8
    assert found.stored.shape == (1797, 3, 16, 16)
    assert torch.equal(found.labels, grey.labels)
    means = torch.stack([found.stored[found.labels == label].float().mean(dim=(0, 2, 3)) for label in range(10)])
    assert float(means.std(dim=0).max()) < 0.1 * 255


def test_colours_are_the_same_every_time():
    assert torch.equal(load("colour-digits").stored, load("colour-digits").stored)


def test_ink_stands_out_from_the_paper():
    pictures = load("colour-digits").stored.float() / 255
    spread = pictures.amax(dim=(2, 3)) - pictures.amin(dim=(2, 3))
    assert float(spread.mean(dim=1).min()) > 0.5 * LEAST_CONTRAST  # bilinear enlarging dims thin strokes


def test_they_are_split_as_digits_are():
    splits = split(load("colour-digits"))
    assert [len(part) for part in (splits.test[1], splits.honest[1], splits.pool)] == [400, 400, 400]
    assert splits.task.shape == (3, 16, 16)
