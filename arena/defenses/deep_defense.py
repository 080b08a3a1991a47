"""Answer each query from a model of its own, whose training gradient there is orthogonal to the victim's.

Source: J. Lee, S. Han, S. Lee, "Model Stealing Defense against Exploiting Information Leak through the Interpretation of
Deep Neural Nets", IJCAI 2022, pp. 710-716, doi 10.24963/ijcai.2022/100. There is no public code, and its constants are
not known to us: all defaults are ours.
For a query x the selected weights w' start near the victim's w and lower alpha |cos(g_B, g'_B)| + (1 - alpha) |cos(g_T,
g'_T)|, g the gradient of the class's log-odds by the weights below and above an activation, plus hinges that keep the
order of the first k classes and of the attribution map. The layers are those that carry most of the sensitivity.
Departures: the log-odds stand for the posterior, whose gradient has the same direction and vanishes where it is near 1.
The start is moved a little at random, keyed by the query: at w the cosine is stationary and nothing would move. A linear
layer's matrix is moved by the outer product of two normal vectors, which is as large at any one input. The hinges are on
logits, with a margin, and of all iterates that keep the promised order the one with the smallest cosines is released;
where none does, the clean row is. ``deep-defense-literal`` has the published losses instead, releases the last iterate
and verifies nothing.
Published number: clones at 8 to 12 % with the top-1 kept. Reproduced: not; that number appears where most released labels
are wrong, as in the literal variant.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, grad, vmap

from arena.contracts import (
    Answer,
    BadParameter,
    Defense,
    DefenseContext,
    NeedUnmet,
    Promise,
    QueryBatch,
    Responder,
    State,
)
from arena.defenses.parts.factors import FactoredMatrices, Named, one_row_layers, run
from arena.learning.chains import Split, chain, split_after_convolution
from arena.learning.randomness import generator, keyed_normal
from arena.learning.release import MARGIN, released

Weights = dict[str, Tensor]
"""Selected weights by name, ``bottom.`` and ``top.`` before those of the two parts; of many queries the first dimension."""

SMOOTH = 1e-3
"""|cos| is sqrt(cos^2 + this^2): where it is 0, the last bit would decide on which side the next step goes."""

_TINY = 1e-24  # under the root of a squared norm, whose gradient at zero is not a number
_BOTTOM, _TOP, _MAP = "bottom.", "top.", "map"
_DELTA, _ROW = ".delta", ".row"  # behind the name of a matrix whose gradient is their outer product
_MEASURED_AT_ONCE = 32  # rows whose gradients by every weight are held
_CPU_WEIGHTS = 4 << 20  # of all queries at once: malloc maps what is larger than 32 MiB anew each time, page by page


@dataclass(frozen=True, kw_only=True)
class DeepDefense(Defense):
    """``alpha`` weighs the cosine below the activation, ``order_weight`` and ``map_weight`` the hinges.

    ``k`` classes keep their order (None: all), by ``hinge`` on logits or posteriors with ``margin``. SGD of ``steps``
    with ``lr`` and ``momentum`` starts ``noise`` standard deviations of a layer off. Layers are taken by falling
    sensitivity on ``rows`` training rows until they carry ``sensitivity`` of all. Queries are solved ``at_once``, fewer
    on a CPU if the network is large; one whose cosines are within ``tolerance`` is done.
    """

    trained_by: ClassVar[frozenset[str]] = frozenset({"rows"})
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("sensitivity", (0.5, 0.7, 0.9))

    alpha: float = 0.5
    order_weight: float = 1.0
    map_weight: float = 0.1
    k: int | None = None
    hinge: Literal["logit", "posterior"] = "logit"
    margin: float = 0.1
    steps: int = 20
    lr: float = 0.05
    momentum: float = 0.9
    noise: float = 0.02
    sensitivity: float = 0.9
    release: Literal["verified", "last"] = "verified"
    rows: int = 256
    tolerance: float = 0.02
    at_once: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1 or not 0 < self.sensitivity <= 1 or not 0 <= self.momentum < 1:
            message = (
                f"alpha = {self.alpha} lies in [0, 1], sensitivity = {self.sensitivity} in (0, 1], and momentum = "
            )
            message += f"{self.momentum} in [0, 1)"
            raise BadParameter(message)
        if (
            min(self.order_weight, self.map_weight, self.margin, self.noise, self.steps, self.tolerance) < 0
            or self.lr <= 0
        ):
            message = (
                "order_weight, map_weight, margin, noise, steps and tolerance are 0 or more, and lr is more than 0"
            )
            raise BadParameter(message)
        if min(self.rows, self.at_once, 1 if self.k is None else self.k) < 1:
            message = "rows, at_once and k are at least 1"
            raise BadParameter(message)

    @property
    def promise(self) -> Promise:
        return Promise(argmax=self.release == "verified", noise="keyed" if self.noise > 0 else "none")

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        """Measure how sensitive the posterior of the predicted class is to each layer."""
        chosen = torch.randperm(len(context.training[0]), generator=rng)[: self.rows]
        found = sensitivities(split_of(_module(context)), context.training[0][chosen].to(context.device))
        return {"sensitivities": torch.stack(list(found.values()))}

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        module, victim, device = _module(context), context.victim, context.device
        names = selected(weights_of(split_of(module)), state["sensitivities"].tolist(), share=self.sensitivity)
        solver = Misdirection(self, module, names, victim.task.shape)
        at_once = self.at_once if device.type != "cpu" else max(1, min(self.at_once, _CPU_WEIGHTS // solver.columns))
        key, library = (int(torch.randint(2**62, (1,), generator=rng).item()) for _ in range(2))

        def respond(queries: QueryBatch) -> Answer:
            clean, explaining = victim(queries.inputs), queries.explain
            rows, maps = [], []
            for inputs, answers in zip(queries.inputs.split(at_once), clean.split(at_once), strict=True):
                x, y, normal = inputs.to(device), answers.to(device), keyed_normal(inputs, solver.columns, key=key)
                found, weights = solver.solve(x, y, normal.to(device), keep=explaining)
                rows.append(found.cpu())
                if context.explanation is not None and explaining:
                    for number, row in enumerate(rows[-1]):
                        explain = context.explanation.deploy(
                            solver.network({name: value[number] for name, value in weights.items()}),
                            context.training[0],
                            rng=generator(library, "library"),
                        )
                        maps.append(explain(inputs[number : number + 1], row.argmax(dim=0, keepdim=True)))
            answer = released(torch.cat(rows))
            return replace(answer, explanations=torch.cat(maps)) if maps else answer

        return respond


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """The network at N queries, in a graph: logits (N, K), the gradient of the log-odds, the map (N, h w) or zeros.

    It is to be differentiated by the ``weights`` and, of each factored layer, the ``outputs`` (N, out) and ``pulls``
    (N, S, in), with S the number of scores; ``deltas`` (N, S, out) are the scores' gradients by the outputs.
    """

    logits: Tensor
    slopes: Weights
    map: Tensor
    weights: Weights
    outputs: Weights
    pulls: Weights
    deltas: Weights


class Misdirection:
    """Solves for the weights of many queries at once; ``names`` are the selected ones, ``shape`` is that of an input.

    A query is solved as it would be alone, to the last bits of float32: layers that all share run in blocks of one size.
    The matrix W of a linear layer z = W h + b is not copied for each: a score s has the gradient delta h^T with delta =
    ds/dz, and the loss L depends on W forwards, by W h, and backwards, by ds/dh = W^T delta. Where a ``pull`` of zeros
    times h is added to s, ds/dh is W^T delta + pull, and dL/dW = dL/dz h^T + delta (dL/dpull)^T. So W is held as the
    victim's and a sum of outer products (`FactoredMatrices`). The scores are the log-odds and the map's logit; each has a
    delta and a pull.
    """

    def __init__(self, terms: DeepDefense, module: nn.Module, names: Sequence[str], shape: Sequence[int]) -> None:
        self._terms, self._module = terms, module
        self._scores = 2 if terms.map_weight > 0 and _is_image_network(module) else 1
        split = split_of(copy.deepcopy(module).requires_grad_(False))
        bottom, top = _named(split.bottom, _BOTTOM), _named(split.top, _TOP)
        chosen = {name: value.contiguous() for name, value in weights_of(split).items() if name in names}
        factored = {f"{name}weight" for name in one_row_layers([*bottom, *top], shape)}
        self._matrices = {name: value for name, value in chosen.items() if name in factored}
        self._dense = {name: value for name, value in chosen.items() if name not in factored}
        self._before = list(takewhile(lambda link: not _part(chosen, link[0]), bottom))
        self._bottom, self._top = bottom[len(self._before) :], top
        self._drawn = [value.numel() for value in self._dense.values()]
        self._drawn += [size for matrix in self._matrices.values() for size in matrix.shape]
        self.columns = sum(self._drawn)

    def solve(self, inputs: Tensor, clean: Tensor, normal: Tensor, *, keep: bool = False) -> tuple[Tensor, Weights]:
        """Return the rows (N, K) to release for inputs (N, *shape), and with ``keep`` the weights behind them.

        ``clean`` (N, K) are the victim's rows, ``normal`` (N, columns) standard normal numbers.
        """
        terms, k = self._terms, min(self._terms.k or clean.shape[1], clean.shape[1])
        verified = terms.release == "verified"
        order = clean.argsort(dim=1, descending=True, stable=True)
        inputs, _, _ = run(self._before, inputs, {}, {})  # once: no step changes it
        own = self._look(*self._start(torch.zeros_like(normal)), inputs, order[:, 0])
        aims = {name: value.detach() for name, value in {**own.slopes, _MAP: own.map}.items()}
        weights, matrices = self._start(normal)
        speed = {name: torch.zeros_like(value) for name, value in weights.items()}
        rows, best = clean.clone(), clean.new_full((len(inputs),), torch.inf)
        every = {**self._dense, **self._matrices} if keep else {}
        kept = {name: value.expand(len(inputs), *value.shape).clone() for name, value in every.items()}
        live = torch.arange(len(inputs), device=inputs.device)  # the queries that are not done
        for step in range(terms.steps + 1):
            seen = self._look(weights, matrices, inputs, order[:, 0])
            loss, aligned = self._loss(seen, order, aims, k)
            posteriors = seen.logits.detach().softmax(dim=1)
            if verified:
                better = (aligned < best[live]) & keeps_order(posteriors, order, k)
                best[live[better]] = aligned[better]
            else:
                better = posteriors.isfinite().all(dim=1)  # a descent can leave the numbers: the last that was one
            rows[live[better]] = posteriors[better]
            for name, value in kept.items():
                value[live[better]] = weights[name][better] if name in weights else matrices[name].dense(better)
            going = best[live] > terms.tolerance
            if step == terms.steps or not bool(going.any()):
                break
            slopes, by_outputs, by_pulls = gradients(loss, seen.weights, seen.outputs, seen.pulls)
            for name, slope in slopes.items():
                weights[name].sub_(speed[name].mul_(terms.momentum).add_(slope), alpha=terms.lr)
            for name, matrix in matrices.items():
                left = torch.cat([by_outputs[name].unsqueeze(1), seen.deltas[name]], dim=1)
                right = torch.cat([seen.slopes[name + _ROW].unsqueeze(1), by_pulls[name]], dim=1)
                matrix.step(left.detach(), right.detach())
            if verified and not bool(going.all()):
                live, inputs, order = live[going], inputs[going], order[going]
                weights, speed, aims = (
                    {name: value[going] for name, value in part.items()} for part in (weights, speed, aims)
                )
                for matrix in matrices.values():
                    matrix.keep(going)
        return rows, kept

    def network(self, weights: Weights) -> nn.Module:
        """Return the victim's network with the weights of one query."""
        network = copy.deepcopy(self._module)
        with torch.no_grad():
            for name, value in weights_of(split_of(network)).items():
                if name in weights:
                    value.copy_(weights[name])
        return network

    def _start(self, normal: Tensor) -> tuple[Weights, dict[str, FactoredMatrices]]:
        """Return the start of each query, ``noise`` standard deviations of each layer's weights off the victim's."""
        terms, drawn = self._terms, iter(normal.split(self._drawn, dim=1))
        weights = {
            name: value + terms.noise * value.std(correction=0) * next(drawn).reshape(-1, *value.shape)
            for name, value in self._dense.items()
        }
        matrices = {}
        for name, value in self._matrices.items():
            left, right = terms.noise * value.std(correction=0) * next(drawn), next(drawn)
            ranks = 1 + self._scores  # the scores share h
            matrices[name] = FactoredMatrices(
                value, left, right, ranks=ranks, steps=terms.steps, lr=terms.lr, momentum=terms.momentum
            )
        return weights, matrices

    @torch.enable_grad()
    def _look(self, weights: Weights, matrices: dict[str, FactoredMatrices], inputs: Tensor, label: Tensor) -> Seen:
        """Return what the network of each query makes of it."""
        weights = {name: value.detach().requires_grad_() for name, value in weights.items()}
        activation, rows, outputs = run(self._bottom, inputs.detach(), weights, matrices)
        logits, *above = run(self._top, activation.requires_grad_(), weights, matrices)
        rows, outputs = rows | above[0], outputs | above[1]
        pulls = {
            name: row.new_zeros(len(row), self._scores, row.shape[1]).requires_grad_() for name, row in rows.items()
        }
        pulled = sum((pulls[name] * row.unsqueeze(1)).sum(dim=2) for name, row in rows.items())
        scores = [log_odds(logits, label), logits.gather(1, label.unsqueeze(1)).squeeze(1)][: self._scores]
        scored = torch.stack(scores, dim=1) + pulled
        slopes, found = gradients(scored[:, 0], weights, outputs, again=True)
        cam, deltas = inputs.new_zeros(len(inputs), 1), [found]
        if self._scores > 1:
            channels, found = gradients(scored[:, 1], {_MAP: activation}, outputs, again=True)
            cam = (channels[_MAP].mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1).clamp(min=0).flatten(1)
            deltas.append(found)
        for name, row in rows.items():
            slopes[name + _DELTA], slopes[name + _ROW] = deltas[0][name], row
        return Seen(
            logits=logits,
            slopes=slopes,
            map=cam,
            weights=weights,
            outputs=outputs,
            pulls=pulls,
            deltas={name: torch.stack([one[name] for one in deltas], dim=1) for name in outputs},
        )

    @torch.enable_grad()
    def _loss(self, seen: Seen, order: Tensor, aims: Weights, k: int) -> tuple[Tensor, Tensor]:
        """Return the loss (N,) of each query, and its cosines (N,)."""
        terms = self._terms
        scores = seen.logits if terms.hinge == "logit" else seen.logits.softmax(dim=1)
        loss = terms.order_weight * order_hinge(scores, order, k, margin=terms.margin)
        aligned = torch.zeros_like(loss)
        for share, part in ((terms.alpha, _BOTTOM), (1 - terms.alpha, _TOP)):
            if own := _part(seen.slopes, part):
                turned = cosine(own, _part(aims, part))
                loss, aligned = loss + share * (turned.square() + SMOOTH**2).sqrt(), aligned + share * turned.abs()
        if self._scores > 1:
            loss = loss + terms.map_weight * map_hinge(seen.map, aims[_MAP], literal=terms.release == "last")
        return loss, aligned.detach()


def gradients(values: Tensor, *by: Weights, again: bool = False) -> list[Weights]:
    """Return the gradients of the sum of ``values`` in the form of ``by``, with a graph of their own if ``again``."""
    every = [value for part in by for value in part.values()]
    found = iter(torch.autograd.grad(values.sum(), every, create_graph=again, materialize_grads=True))
    return [{name: next(found) for name in part} for part in by]


def split_of(module: nn.Module) -> Split:
    """Return a network cut behind its last convolutional activation, without one before its last layer of weights."""
    if _is_image_network(module):
        return split_after_convolution(module)
    links = chain(module)
    last = max(place for place, link in enumerate(links) if any(True for _ in link.parameters()))
    return Split(bottom=nn.Sequential(*links[:last]).eval(), top=nn.Sequential(*links[last:]).eval())


def weights_of(split: Split) -> Weights:
    """Return every weight of both parts by name, detached: a model that is still to be trained is defended too."""
    parts = ((_BOTTOM, split.bottom), (_TOP, split.top))
    return {prefix + name: value.detach() for prefix, part in parts for name, value in part.named_parameters()}


def sensitivities(split: Split, inputs: Tensor) -> dict[str, Tensor]:
    """Return by layer the mean over inputs (N, *shape) of the L1 norm of the predicted posterior's gradient."""
    every = weights_of(split)

    def posterior(weights: Weights, row: Tensor) -> Tensor:
        activation = _run(split.bottom, weights, _BOTTOM, row.unsqueeze(0))
        return _run(split.top, weights, _TOP, activation).softmax(dim=1).amax()

    sums = {layer: inputs.new_zeros((), dtype=torch.float64) for layer in layers_of(every)}
    slopes_of = vmap(grad(posterior), in_dims=(None, 0))
    for chunk in inputs.split(_MEASURED_AT_ONCE):
        for name, slope in slopes_of(every, chunk).items():
            sums[_layer(name)] += slope.double().abs().sum()
    return {layer: total / max(len(inputs), 1) for layer, total in sums.items()}


def layers_of(weights: Weights) -> list[str]:
    """Return the names of the layers, each once, in order."""
    return list(dict.fromkeys(map(_layer, weights)))


def selected(weights: Weights, sensitivity: Sequence[float], *, share: float) -> list[str]:
    """Return the names of the weights of the most sensitive layers that together carry ``share`` of the sensitivity.

    ``sensitivity`` stands in the order of `layers_of`; the layer that crosses the share is one of them.
    """
    ranked = sorted(zip(layers_of(weights), sensitivity, strict=True), key=lambda one: -one[1])
    total, carried, chosen = sum(sensitivity), 0.0, set()
    for layer, value in ranked:
        chosen.add(layer)
        carried += value
        if carried >= share * total:
            break
    return [name for name in weights if _layer(name) in chosen]


def log_odds(logits: Tensor, label: Tensor) -> Tensor:
    """Return z_y - logsumexp over the other classes of logits (..., K), labels (...): the log of p_y / (1 - p_y)."""
    chosen = torch.arange(logits.shape[-1], device=logits.device) == label.unsqueeze(-1)
    return torch.where(chosen, logits, 0.0).sum(dim=-1) - torch.where(chosen, -torch.inf, logits).logsumexp(dim=-1)


def cosine(first: Weights, second: Weights) -> Tensor:
    """Return the cosines (N,) of two gradients by name; 0 where one is zero."""
    lengths = [(inner(one, one) + _TINY).sqrt() for one in (first, second)]
    return inner(first, second) / (lengths[0] * lengths[1])


def inner(first: Weights, second: Weights) -> Tensor:
    """Return the inner products (N,) of two gradients: of outer products delta h^T that of deltas times that of rows."""
    found = {name: (value.flatten(1) * second[name].flatten(1)).sum(dim=1) for name, value in first.items()}
    pairs = [name.removesuffix(_ROW) for name in first if name.endswith(_ROW)]
    outer = [found.pop(name + _DELTA) * found.pop(name + _ROW) for name in pairs]
    return torch.stack([*found.values(), *outer]).sum(dim=0)


def order_hinge(scores: Tensor, order: Tensor, k: int, *, margin: float) -> Tensor:
    """Return how far scores (..., K) are from keeping the first ``k`` of ``order`` (..., K), and above the rest.

    Source: L_pred of the paper: the sum over i < k of (f_(i+1) - f_i + m)+, and for k < K (max of the rest - f_k + m)+.
    """
    ranked = scores.gather(-1, order)
    within = (ranked[..., 1:k] - ranked[..., : k - 1] + margin).clamp(min=0).sum(dim=-1)
    if k == scores.shape[-1]:
        return within
    return within + (ranked[..., k:].amax(dim=-1) - ranked[..., k - 1] + margin).clamp(min=0)


def map_hinge(here: Tensor, own: Tensor, *, literal: bool) -> Tensor:
    """Return how far a map (..., P) is from the order of the victim's ``own``: the sum of rises along it (L_int).

    ``literal`` sums over all places, as printed. Else as shares of the own map's maximum, over the places where it is
    positive, and of the largest of the other places over the smallest of those: zeros of a ReLU have no order.
    """
    places = own.argsort(dim=-1, descending=True, stable=True)
    ranked = here.gather(-1, places)
    rises = (ranked[..., 1:] - ranked[..., :-1]).clamp(min=0)
    if literal:
        return rises.sum(dim=-1)
    positive = own.gather(-1, places) > 0
    lowest = torch.where(positive, ranked, torch.inf).amin(dim=-1)
    above = (torch.where(positive, 0.0, ranked).amax(dim=-1) - lowest).clamp(min=0)
    return ((rises * positive[..., 1:]).sum(dim=-1) + above) / own.amax(dim=-1).clamp(min=_TINY)


def keeps_order(posteriors: Tensor, order: Tensor, k: int) -> Tensor:
    """Return whether rows (N, K) float32 have their first ``k`` in the order (N, K), above the rest; the first leads."""
    ranked = posteriors.gather(1, order)
    leads = ranked[:, 0] - ranked[:, 1:].amax(dim=1) >= MARGIN
    falls = (ranked[:, 1:k] < ranked[:, : k - 1]).all(dim=1)
    if k == posteriors.shape[1]:
        return leads & falls
    return leads & falls & (ranked[:, k:].amax(dim=1) < ranked[:, k - 1])


def _module(context: DefenseContext) -> nn.Module:
    """Return a copy: `functional_call` puts other weights into a network while it runs, and others ask this victim too."""
    if context.victim.module is None:
        message = "deep-defense needs the victim's weights, and this victim gives answers alone"
        raise NeedUnmet(message)
    return copy.deepcopy(context.victim.module)


def _is_image_network(module: nn.Module) -> bool:
    return any(isinstance(layer, nn.Conv2d) for layer in module.modules())


def _run(part: nn.Module, weights: Weights, prefix: str, inputs: Tensor) -> Tensor:
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    outputs: Tensor = functional_call(part, own, (inputs,))
    return outputs


def _named(part: nn.Sequential, prefix: str) -> list[Named]:
    """Return the layers of a part by name; one that stands twice has the name of its first place."""
    links = list(part)
    return [(f"{prefix}{links.index(link)}.", link) for link in links]


def _part(weights: Weights, prefix: str) -> Weights:
    return {name: value for name, value in weights.items() if name.startswith(prefix)}


def _layer(name: str) -> str:
    return name.rpartition(".")[0]
