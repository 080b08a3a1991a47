"""Import torchvision even if its compiled operators do not load (a CPU build of torch with a CUDA wheel)."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch

_kept: list[torch.library.Library] = []  # the definitions of a library vanish with the object


def torchvision_module(name: str) -> ModuleType:
    """Return ``torchvision.<name>``; define the two operators that its Python code needs if they are missing."""
    try:
        return importlib.import_module(f"torchvision.{name}")
    except RuntimeError:
        operators = torch.library.Library("torchvision", "DEF")
        operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(operators)
        return importlib.import_module(f"torchvision.{name}")


def torchvision_models() -> ModuleType:
    """Return ``torchvision.models``."""
    return torchvision_module("models")
