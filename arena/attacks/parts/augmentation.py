"""Random views of a batch for contrastive learning: images are cropped and relit, table rows exchange values."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample

ASPECT = 4 / 3  # the largest aspect ratio of a crop, either way
LIGHT = 0.4  # the largest relative change of brightness, contrast and saturation
LIT = 0.8  # the share of images whose light changes
GREY = 0.2  # the share of RGB images that turn grey


def image_view(images: Tensor, *, crop: float, flip: bool, rng: Generator) -> Tensor:
    """Return a random view of each image (N, C, H, W) in [0, 1], of the same shape and on the same device.

    A view is a crop, resized to the full size, that covers a share of the area in [``crop``, 1] with an aspect ratio
    within 4:3; with ``flip`` it is mirrored at random. For four images in five, brightness, contrast and the saturation
    of RGB images change by up to 40 %, and one RGB image in five turns grey.
    Source: Chen, He, "Exploring Simple Siamese Representation Learning", CVPR 2021, arXiv 2011.10566, section 3,
    without changes of hue.
    """
    rows, colour = len(images), images.shape[1] == 3
    area, aspect = _between(crop, 1, rows, rng), _between(-math.log(ASPECT), math.log(ASPECT), rows, rng).exp()
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    mirrored = _between(-1, 1, rows, rng).sign() if flip else torch.ones(rows)
    across, down = (_between(-1, 1, rows, rng) for _ in range(2))
    frames = torch.zeros(rows, 2, 3)
    frames[:, 0, 0], frames[:, 0, 2] = width * mirrored, across * (1 - width)
    frames[:, 1, 1], frames[:, 1, 2] = height, down * (1 - height)
    grid = affine_grid(frames.to(images.device), list(images.shape), align_corners=False)
    views = grid_sample(images, grid, padding_mode="border", align_corners=False)
    lit = _between(0, 1, rows, rng) < LIT
    brightness, contrast, saturation = (
        torch.where(lit, _between(1 - LIGHT, 1 + LIGHT, rows, rng), 1) for _ in range(3)
    )
    views = views * _each(brightness, views)
    views = _blend(views, views.mean(dim=(1, 2, 3), keepdim=True), contrast)
    if colour:
        saturation = torch.where(_between(0, 1, rows, rng) < GREY, 0, saturation)
        views = _blend(views, views.mean(dim=1, keepdim=True), saturation)
    return views.clamp(0, 1)


def table_view(rows: Tensor, *, corruption: float, rng: Generator) -> Tensor:
    """Return rows (N, d) in which each value is replaced, with probability ``corruption``, by that of another row.

    Source: Bahri, Jiang, Tay, Metzler, "SCARF: Self-Supervised Contrastive Learning using Random Feature Corruption",
    ICLR 2022, arXiv 2106.15147.
    """
    others = rows.gather(0, torch.randint(len(rows), tuple(rows.shape), generator=rng).to(rows.device))
    replaced = torch.rand(rows.shape, generator=rng) < corruption
    return torch.where(replaced.to(rows.device), others, rows)


def _between(low: float, high: float, rows: int, rng: Generator) -> Tensor:
    return low + (high - low) * torch.rand(rows, generator=rng)


def _blend(views: Tensor, towards: Tensor, factors: Tensor) -> Tensor:
    return towards + _each(factors, views) * (views - towards)


def _each(factors: Tensor, views: Tensor) -> Tensor:
    return factors.to(views).reshape(-1, 1, 1, 1)
