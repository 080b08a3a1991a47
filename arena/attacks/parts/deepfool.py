"""Measure how far inputs are from a network's decision boundary: linearise, step to the nearest face, repeat.

Source: Moosavi-Dezfooli, Fawzi, Frossard, "DeepFool: A Simple and Accurate Method to Fool Deep Neural Networks", CVPR
2016, arXiv 1511.04599, algorithm 2, run on whole batches; overshoot and rivals as in the authors' code.
Departures: None. As in the paper, inputs may leave [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

OVERSHOOT = 0.02
"""A step goes beyond the linearised boundary by this share of its length."""

BEYOND = 1e-4
"""A step also goes beyond the boundary by this distance: otherwise a row on the boundary would not move."""

RIVALS = 9
"""A step chooses among this many faces: those of the classes with the highest scores after the predicted one."""

_ROWS_AT_ONCE = 128  # the gradients of all faces of so many large images must fit in memory


def boundary_distances(network: nn.Module, inputs: Tensor, *, iterations: int) -> Tensor:
    """Return the L2 length (N,) float32 of the perturbation that changes the predicted class of inputs (N, *shape).

    The network must be in eval mode; the result is on the CPU. A row whose class has not changed after all
    ``iterations`` gets the length reached by then, and a row whose gradients are zero gets infinity.
    """
    device = next(network.parameters()).device
    return torch.cat([_distances(network, chunk.to(device), iterations).cpu() for chunk in inputs.split(_ROWS_AT_ONCE)])


def _distances(network: nn.Module, inputs: Tensor, iterations: int) -> Tensor:
    moved, lengths = inputs.clone(), inputs.new_zeros(len(inputs))
    classes = _predicted(network, inputs)
    active = torch.arange(len(inputs), device=inputs.device)
    for _ in range(iterations):
        steps = (1 + OVERSHOOT) * _step(network, moved[active])
        moved[active] += steps.reshape(-1, *inputs.shape[1:])
        lengths[active] = (moved[active] - inputs[active]).flatten(1).norm(dim=1)
        stuck = ~steps.any(dim=1)
        lengths[active[stuck]] = torch.inf
        active = active[~stuck]
        active = active[_predicted(network, moved[active]) == classes[active]]
        if len(active) == 0:
            break
    return lengths


def _step(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return the step (N, d) of each row to the nearest face between its class and the next ones.

    With f_l = z_l - z_c and its gradient w_l, a face is |f_l| / ||w_l|| away along w_l. Rows without a gradient stay
    put.
    """
    rows = inputs.detach().requires_grad_(True)
    logits = network(rows)
    top = logits.topk(min(1 + RIVALS, logits.shape[1]), dim=1).values
    gradients = torch.stack(
        [torch.autograd.grad(column.sum(), rows, retain_graph=True)[0].flatten(1) for column in top.unbind(dim=1)],
        dim=1,
    )
    gaps, normals = (top[:, :1] - top[:, 1:]).detach(), gradients[:, 1:] - gradients[:, :1]
    norms = normals.norm(dim=2)
    distances = torch.where(norms > 0, gaps / norms, torch.inf)
    nearest = distances.argmin(dim=1, keepdim=True)
    lengths = (distances.gather(1, nearest) + BEYOND) / norms.gather(1, nearest)
    normal = normals.gather(1, nearest.unsqueeze(2).expand(-1, -1, normals.shape[2])).squeeze(1)
    return torch.where(lengths.isfinite(), lengths * normal, 0.0)


@torch.no_grad()
def _predicted(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return the predicted classes (N,) of inputs, where N may be 0."""
    classes: Tensor = network(inputs).argmax(dim=1)
    return classes
