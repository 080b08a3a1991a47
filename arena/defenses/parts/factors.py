"""Run a chain of layers with different weights for each row; those of linear layers differ by outer products only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import linear, unfold

from arena.learning.training import PADDED_SIZES, padded

_ROWS = PADDED_SIZES[0]

Named = tuple[str, nn.Module]
"""The prefix of the names of a layer's weights, and the layer."""


class ChainPass(NamedTuple):
    """The outputs of a chain and, for each factored matrix, its layer's inputs (N, in) and outputs (N, out)."""

    outputs: Tensor
    layer_inputs: dict[str, Tensor]
    layer_outputs: dict[str, Tensor]


class FactoredMatrices:
    """The matrices (out, in) of N rows: a shared one, plus outer products that SGD with momentum adds for each row.

    Each gradient is a sum of ``ranks`` outer products left right^T, and so is everything that is added. SGD's rule
    therefore applies to their coefficients, which all rows share. The start differs from the shared matrix by ``left``
    (N, out) times ``right`` (N, in).
    """

    def __init__(
        self, matrix: Tensor, left: Tensor, right: Tensor, *, ranks: int, steps: int, lr: float, momentum: float
    ) -> None:
        room = 1 + ranks * steps
        self._left, self._right = (one.new_empty(len(one), room, one.shape[1]) for one in (left, right))
        self._left[:, 0], self._right[:, 0] = left, right
        self._matrix, self._ranks, self._lr, self._momentum = matrix, ranks, lr, momentum
        self._shares, self._velocity = left.new_ones(1), left.new_zeros(1)

    def times(self, inputs: Tensor) -> Tensor:
        """Return the product (N, out) of each row's matrix with its input (N, in)."""
        used = len(self._shares)
        shares = (inputs.unsqueeze(1) @ self._right[:, :used].mT) * self._shares
        return in_blocks(lambda rows: linear(rows, self._matrix), inputs) + (shares @ self._left[:, :used]).squeeze(1)

    def step(self, left: Tensor, right: Tensor) -> None:
        """Descend along the sums of left_r right_r^T for ``left`` (N, ranks, out) and ``right`` (N, ranks, in)."""
        new = slice(len(self._shares), len(self._shares) + self._ranks)
        self._left[:, new], self._right[:, new] = left, right
        self._velocity = torch.cat([self._momentum * self._velocity, self._velocity.new_ones(self._ranks)])
        self._shares = torch.cat([self._shares, self._shares.new_zeros(self._ranks)]) - self._lr * self._velocity

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but those in a mask (N,)."""
        used, number = len(self._shares), int(rows.sum())
        for factor in (self._left, self._right):
            factor[:number, :used] = factor[rows, :used]
        self._left, self._right = self._left[:number], self._right[:number]

    def dense(self, rows: Tensor) -> Tensor:
        """Return the matrices (n, out, in) of the n rows in a mask (N,)."""
        used = len(self._shares)
        left = self._left[rows, :used] * self._shares.unsqueeze(1)
        return self._matrix + left.mT @ self._right[rows, :used]


def run(
    links: Sequence[Named], inputs: Tensor, dense: Mapping[str, Tensor], factored: Mapping[str, FactoredMatrices]
) -> ChainPass:
    """Run inputs (N, ...) through a chain of layers.

    Row n uses the weights ``dense[name][n]`` and ``factored[name]``, and the layer's own weights where there are none.
    """
    values, rows, outputs = inputs, {}, {}
    for name, link in links:
        of_layer = {key.removeprefix(name): value for key, value in dense.items() if key.startswith(name)}
        matrix = f"{name}weight"
        if matrix in factored and isinstance(link, nn.Linear):
            rows[matrix], bias = values, of_layer.get("bias", link.bias)
            values = factored[matrix].times(values)
            values = outputs[matrix] = values if bias is None else values + bias
        else:
            values = _each(link, of_layer, values) if of_layer else in_blocks(link, values)
    return ChainPass(values, rows, outputs)


def in_blocks(layer: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """Apply a layer to rows in blocks padded to 8, so that the bits of a row do not depend on the other rows."""
    return torch.cat([layer(padded(rows, size=_ROWS))[: len(rows)] for rows in values.split(_ROWS)])


def one_row_layers(links: Sequence[Named], shape: Sequence[int]) -> list[str]:
    """Return the names of the linear layers that receive one row (1, in) for an input of ``shape``, and only once."""
    modules = [link for _, link in links]
    parameter = next(parameter for link in modules for parameter in link.parameters())
    names, values = [], parameter.new_zeros(1, *shape)
    with torch.no_grad():
        for name, link in links:
            if type(link) is nn.Linear and values.dim() == 2 and modules.count(link) == 1:
                names.append(name)
            values = link(values)
    return names


def _each(link: nn.Module, weights: Mapping[str, Tensor], values: Tensor) -> Tensor:
    if (
        type(link) is nn.Conv2d
        and link.groups == 1
        and link.padding_mode == "zeros"
        and not isinstance(link.padding, str)
    ):
        return _convolved(link, link.padding, weights, values)

    def one(of_layer: dict[str, Tensor], row: Tensor) -> Tensor:
        outputs: Tensor = functional_call(link, of_layer, (row.unsqueeze(0),))
        return outputs.squeeze(0)

    return vmap(one)(dict(weights), values)


def _convolved(link: nn.Conv2d, padding: tuple[int, ...], weights: Mapping[str, Tensor], values: Tensor) -> Tensor:
    """Convolve values (N, C, H, W) by one product per row: faster than N groups, and independent of the other rows."""
    columns = unfold(values, link.kernel_size, dilation=link.dilation, padding=padding, stride=link.stride)
    kernels = weights["weight"].flatten(2) if "weight" in weights else link.weight.flatten(1)
    outputs, bias = kernels @ columns, weights.get("bias", link.bias)  # (N, out, h w)
    reached = [dilation * (size - 1) + 1 for dilation, size in zip(link.dilation, link.kernel_size, strict=True)]
    height, width = (
        (values.shape[2 + axis] + 2 * padding[axis] - reached[axis]) // link.stride[axis] + 1 for axis in (0, 1)
    )
    return (outputs if bias is None else outputs + bias.unsqueeze(-1)).reshape(len(values), -1, height, width)
