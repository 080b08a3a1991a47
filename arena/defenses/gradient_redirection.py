"""Release the row, within a distance, whose training gradient points farthest along a chosen direction (GRAD2).

Source: Mazeika, Li, Forsyth, "How to Steer Your Adversary: Targeted and Efficient Model Stealing Defenses with
Gradient Redirection", ICML 2022, arXiv 2206.14157. ``target = "all-ones"``, the paper's main choice, pushes every
parameter of the clone in the same direction. ``"away"``, its min-inner-product, pushes against the honest gradient.
A gradient is linear in the row that caused it. Its product with a fixed direction therefore amounts to K costs for each
row, and the best row is the solution of a linear programme.
Departures: ``away`` steers each row against its own honest gradient, where the authors' code takes the mean gradient of
the rows that happen to be in the batch. ``layers = "last"`` considers only the surrogate's last layer, in closed form:
the costs are y - p. Unless a matchup says otherwise, the surrogate is an untrained network, where the paper trains it;
play ``surrogate = "same-architecture"`` for the paper's. ``preserve_argmax`` is ours. Where float32 cannot distinguish
the costs, the clean row is released.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, jvp, vjp, vmap

from arena.contracts import BadParameter, DefenseContext, Need, Promise, QueryBatch, Responder, State
from arena.defenses.parts.cheapest_rows import cheapest_rows, cheapest_rows_keeping_argmax
from arena.defenses.parts.defender_networks import surrogate_of
from arena.learning.composition import ComposableDefense, transformed
from arena.learning.release import DIAMETER, MARGIN, keep_argmax
from arena.learning.training import PADDED_SIZES, padded, predict

Target = Literal["all-ones", "away"]
Layers = Literal["all", "last"]
Weights = dict[str, Tensor]

LEAST_RANGE = 1e-3  # of a row's costs: below it they are noise, as for a target that no row can follow
_ROWS_AT_ONCE = PADDED_SIZES[0]  # rows whose gradients are held in memory together


@dataclass(frozen=True, kw_only=True)
class GradientRedirection(ComposableDefense):
    """``epsilon`` bounds the L1 distance; ``layers`` are the surrogate's layers whose gradients are steered."""

    needs: ClassVar[frozenset[Need]] = frozenset({"surrogate"})
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = (
        "epsilon",
        (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    )

    epsilon: float = 0.5
    target: Target = "all-ones"
    layers: Layers = "all"
    preserve_argmax: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.epsilon <= DIAMETER:
            message = f"epsilon = {self.epsilon} must lie in [0, {DIAMETER:g}]: no two rows are farther apart in L1"
            raise BadParameter(message)
        if self.target == "all-ones" and self.layers == "last":
            message = "the gradient of the last layer sums to 0 for every row, so target = all-ones needs layers = all"
            raise BadParameter(message)

    @property
    def own_promise(self) -> Promise:
        return Promise(argmax=self.preserve_argmax, l1=self.epsilon)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        # A copy, because functional_call swaps weights while it runs, and other matches share the surrogate.
        surrogate = copy.deepcopy(surrogate_of(context, "gradient redirection"))

        def redirect(clean: Tensor, queries: QueryBatch) -> Tensor:
            if self.layers == "last":
                costs = last_layer_costs(clean, predict(surrogate, queries.inputs))
            elif self.target == "away":
                costs = away_costs(surrogate, queries.inputs, clean)
            else:
                costs = all_ones_costs(surrogate, queries.inputs)
            return redirected(clean, costs, epsilon=self.epsilon, preserve_argmax=self.preserve_argmax)

        return transformed(self.below(context, state, rng=rng), redirect)


def redirected(posteriors: Tensor, costs: Tensor, *, epsilon: float, preserve_argmax: bool) -> Tensor:
    """Return the cheapest rows (N, K) float64 within ``epsilon`` of the posteriors."""
    costs = costs * (costs.amax(dim=1, keepdim=True) - costs.amin(dim=1, keepdim=True) > LEAST_RANGE)
    if not preserve_argmax:
        return cheapest_rows(costs, posteriors, epsilon=epsilon)
    return keep_argmax(cheapest_rows_keeping_argmax(costs, posteriors, epsilon=epsilon, margin=MARGIN), posteriors)


def last_layer_costs(posteriors: Tensor, guesses: Tensor) -> Tensor:
    """Return y - p (N, K) float64: the last layer's inner products, over |h|^2 and up to a constant for each row."""
    return posteriors.double() - guesses.double()


def all_ones_costs(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return -sum_w d log p_k / dw (N, K) float32 over all parameters w, in one forward pass of tangents."""
    weights = _weights(network)
    ones = {name: torch.ones_like(weight) for name, weight in weights.items()}

    def costs(chunk: Tensor) -> Tensor:
        tangents: Tensor = jvp(lambda w: _log_posteriors(network, w, chunk), (weights,), (ones,))[1]
        return -tangents

    return _in_chunks(costs, inputs, device=_device(network))


def away_costs(network: nn.Module, inputs: Tensor, posteriors: Tensor) -> Tensor:
    """Return <d log p_k / dw, sum_j y_j d log p_j / dw> (N, K) float32 over all parameters w, row by row."""
    weights = _weights(network)

    def row_costs(row: Tensor, y: Tensor) -> Tensor:
        def log_posteriors(w: Weights) -> Tensor:
            return _log_posteriors(network, w, row.unsqueeze(0)).squeeze(0)

        (honest,) = vjp(log_posteriors, weights)[1](y)
        along: Tensor = jvp(log_posteriors, (weights,), (honest,))[1]
        return along

    return _in_chunks(vmap(row_costs, chunk_size=_ROWS_AT_ONCE), inputs, posteriors, device=_device(network))


def _weights(network: nn.Module) -> Weights:
    return {name: weight.detach() for name, weight in network.named_parameters()}


def _log_posteriors(network: nn.Module, weights: Weights, inputs: Tensor) -> Tensor:
    logits: Tensor = functional_call(network, weights, (inputs,))
    return logits.log_softmax(dim=1)


def _in_chunks(costs: Callable[..., Tensor], *rows: Tensor, device: torch.device) -> Tensor:
    """Return the ``costs`` of rows (N, ...) on the CPU, padded like every forward pass."""
    parts = [
        costs(*(padded(part).to(device) for part in chunk))[: len(chunk[0])].cpu()
        for chunk in zip(*(tensor.split(PADDED_SIZES[-1]) for tensor in rows), strict=True)
    ]
    return torch.cat(parts)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
