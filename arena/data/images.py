"""Images as whole grey levels: conversion to other shapes, to [0, 1] and back."""

from __future__ import annotations

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode "L"


def to_unit(levels: Tensor) -> Tensor:
    """Return uint8 levels as float32(k / 255), the values that one byte per pixel can represent."""
    return levels.float() / 255.0


def to_levels(images: Tensor) -> Tensor:
    """Return images in [0, 1] rounded to uint8 levels."""
    return (images * 255.0).round().clamp(0, 255).to(torch.uint8)


def reshaped(levels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return uint8 images (N, C, H, W) in ``shape`` = (C', H', W'), resized with antialiasing.

    RGB becomes grey by its luminance; any other change in the number of channels repeats their mean.
    """
    channels, *sides = shape
    images = levels.float()
    if images.shape[1] != channels:
        images = _grey(images).expand(-1, channels, -1, -1)
    if list(images.shape[2:]) != sides:
        images = interpolate(images, size=sides, mode="bilinear", antialias=True, align_corners=False)
    return images.round().clamp(0, 255).to(torch.uint8)


def square_levels(picture: Image.Image, *, side: int, grey: bool) -> Tensor:
    """Return the central square of a picture as uint8 (C, side, side), resized with antialiasing."""
    fitted = ImageOps.fit(picture.convert("L" if grey else "RGB"), (side, side), Image.Resampling.BILINEAR)
    values = torch.frombuffer(bytearray(fitted.tobytes()), dtype=torch.uint8)
    return values.reshape(side, side, -1).permute(2, 0, 1).contiguous()


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    return (images * torch.tensor(_LUMINANCE).reshape(1, 3, 1, 1)).sum(dim=1, keepdim=True)
