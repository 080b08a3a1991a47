"""One network for each query: the victim's with some weights changed, run and differentiated for many at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor, nn

from arena.defenses.parts.factors import FactoredMatrices, one_row_layers, run
from arena.defenses.parts.kept_maps import KeptMap, Seen
from arena.defenses.parts.layer_weights import BOTTOM, TOP, Weights, in_part, named_layers, weights_of
from arena.defenses.parts.misdirection_objective import DELTA, ROW, log_odds
from arena.learning.chains import Split

MAP, CONSTANTS = "map", "constants"
"""The names of the attribution map and of its constants where they are kept beside gradients."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Iterate:
    """The selected weights of N queries: by name, and the matrices of linear layers in factored form."""

    dense: Weights
    factored: dict[str, FactoredMatrices]


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """What the network of each of N queries computes at that query, with its autograd graph.

    ``logits`` are (N, K), ``gradients`` are those of the log-odds with respect to the selected weights, and ``map`` (N,
    P) is the attribution map, or zeros (N, 1) without one. A loss can be differentiated with respect to ``weights``
    and, for each factored layer, ``outputs`` (N, out) and ``pulls`` (N, S, in), where S is the number of scores.
    ``deltas`` (N, S, out) are the gradients of the scores with respect to the outputs.
    """

    logits: Tensor
    gradients: Weights
    map: Tensor
    weights: Weights
    outputs: Weights
    pulls: Weights
    deltas: Weights


class QueryNetworks:
    """The networks of many queries, which differ from the victim's in the weights ``names``.

    Layers that have the same weights for all queries run in blocks of one size, so that the results of a query do not
    depend on the others, up to the last bits of float32.
    The matrix W of a linear layer z = W h + b is not copied for each query. A score s has the gradient delta h^T, where
    delta = ds/dz, and a loss L of such gradients depends on W in two ways: forwards through W h, and backwards through
    ds/dh = W^T delta. If a ``pull`` of zeros times h is added to s, then ds/dh is W^T delta + pull, and dL/dW = dL/dz
    h^T + delta (dL/dpull)^T. So W is held as the victim's matrix plus a sum of outer products (`FactoredMatrices`). The
    scores are the log-odds and, for a map by slopes, the logit of the class; each has its own delta and pull. A map that
    is drawn from the weights has no such gradients, and all matrices are copied.
    """

    def __init__(
        self,
        split: Callable[[nn.Module], Split],
        module: nn.Module,
        names: Sequence[str],
        shape: Sequence[int],
        *,
        kept: KeptMap | None,
    ) -> None:
        self._module, self._split, self._kept = module, split, kept
        self._scores = 2 if kept is not None and kept.by_slopes else 1
        parts = split(copy.deepcopy(module).requires_grad_(False))
        links = [*named_layers(parts.bottom, BOTTOM), *named_layers(parts.top, TOP)]
        chosen = {name: value.contiguous() for name, value in weights_of(parts).items() if name in names}
        factored = {f"{name}weight" for name in one_row_layers(links, shape)} if kept is None or kept.by_slopes else {}
        self._matrices = {name: value for name, value in chosen.items() if name in factored}
        self._dense = {name: value for name, value in chosen.items() if name not in factored}
        place = len(parts.bottom) if kept is None else kept.place
        self._before = list(takewhile(lambda link: not in_part(chosen, link[0]), links[:place]))
        self._below, self._above = links[len(self._before) : place], links[place:]
        self._drawn = [value.numel() for value in self._dense.values()]
        self._drawn += [size for matrix in self._matrices.values() for size in matrix.shape]
        self.columns = sum(self._drawn)

    @property
    def selected(self) -> Weights:
        """The victim's selected weights by name."""
        return {**self._dense, **self._matrices}

    def with_weights(self, weights: Weights) -> nn.Module:
        """Return the victim's network with the weights of one query."""
        network = copy.deepcopy(self._module)
        with torch.no_grad():
            for name, value in weights_of(self._split(network)).items():
                if name in weights:
                    value.copy_(weights[name])
        return network

    def before_selected(self, inputs: Tensor) -> Tensor:
        """Return what the first selected layer receives for inputs (N, *shape); the layers before it never change."""
        return run(self._before, inputs, {}, {}).outputs

    def displaced(self, normal: Tensor, *, noise: float, steps: int, lr: float, momentum: float) -> Iterate:
        """Return weights that are ``noise`` standard deviations of each layer's weights away from the victim's.

        ``normal`` (N, columns) are standard normal numbers. SGD of ``steps`` steps with ``lr`` and ``momentum``
        follows.
        """
        drawn = iter(normal.split(self._drawn, dim=1))
        dense = {
            name: value + noise * value.std(correction=0) * next(drawn).reshape(-1, *value.shape)
            for name, value in self._dense.items()
        }
        factored = {}
        for name, value in self._matrices.items():
            left, right = noise * value.std(correction=0) * next(drawn), next(drawn)
            ranks = 1 + self._scores  # the scores share h
            factored[name] = FactoredMatrices(value, left, right, ranks=ranks, steps=steps, lr=lr, momentum=momentum)
        return Iterate(dense=dense, factored=factored)

    @torch.enable_grad()
    def view(self, iterate: Iterate, inputs: Tensor, label: Tensor, constants: Tensor) -> View:
        """Run each query through its own network, and differentiate the log-odds of its ``label`` (N,).

        ``constants`` (N, R) are those of the map.
        """
        weights = {name: value.detach().requires_grad_() for name, value in iterate.dense.items()}
        below = run(self._below, inputs.detach(), weights, iterate.factored)
        activation = below.outputs.requires_grad_()
        above = run(self._above, activation, weights, iterate.factored)
        logits = above.outputs
        rows, outputs = below.layer_inputs | above.layer_inputs, below.layer_outputs | above.layer_outputs
        pulls = {
            name: row.new_zeros(len(row), self._scores, row.shape[1]).requires_grad_() for name, row in rows.items()
        }
        pulled = sum((pulls[name] * row.unsqueeze(1)).sum(dim=2) for name, row in rows.items())
        scores = [log_odds(logits, label), logits.gather(1, label.unsqueeze(1)).squeeze(1)][: self._scores]
        scored = torch.stack(scores, dim=1) + pulled
        found, delta = gradients(scored[:, 0], weights, outputs, again=True)
        drawn, deltas, slopes = inputs.new_zeros(len(inputs), 1), [delta], None
        if self._scores > 1:
            by_place, delta = gradients(scored[:, 1], {MAP: activation}, outputs, again=True)
            slopes = by_place[MAP]
            deltas.append(delta)
        if self._kept is not None:
            own = {name: value for link, _ in self._above for name, value in in_part(weights, link).items()}
            seen = Seen(
                values=activation,
                slopes=slopes,
                label=label,
                classes=logits.shape[1],
                weights=own,
                above=self._above,
                constants=constants,
            )
            drawn = self._kept.draw(seen)
        for name, row in rows.items():
            found[name + DELTA], found[name + ROW] = deltas[0][name], row
        return View(
            logits=logits,
            gradients=found,
            map=drawn,
            weights=weights,
            outputs=outputs,
            pulls=pulls,
            deltas={name: torch.stack([one[name] for one in deltas], dim=1) for name in outputs},
        )


def gradients(values: Tensor, *by: Weights, again: bool = False) -> list[Weights]:
    """Return the gradients of the sum of ``values``, one dictionary for each of ``by``; with a graph if ``again``."""
    every = [value for part in by for value in part.values()]
    found = iter(torch.autograd.grad(values.sum(), every, create_graph=again, materialize_grads=True))
    return [{name: next(found) for name in part} for part in by]
