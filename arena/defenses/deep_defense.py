"""Answer each query from its own copy of the victim, with a training gradient orthogonal to the victim's.

Source: J. Lee, S. Han, S. Lee, "Model Stealing Defense against Exploiting Information Leak through the Interpretation
of Deep Neural Nets", IJCAI 2022, pp. 710-716, doi 10.24963/ijcai.2022/100. There is no public code and we do not know
the paper's constants, so all defaults are ours.
For a query x, the defense searches near the victim's weights w for weights w' that minimise alpha |cos(g_B, g'_B)| +
(1 - alpha) |cos(g_T, g'_T)|, where g is the gradient of the class's log-odds with respect to the weights below (B) and
above (T) an activation. Hinge terms keep the order of the first k classes and of the attribution map. Only the layers
that account for most of the sensitivity are changed.
Departures: The log-odds replace the posterior: their gradient has the same direction, and does not vanish where the
posterior is near 1. The search starts a small random distance from w, keyed by the query, because the cosine is
stationary at w and nothing would move. A linear layer's matrix is displaced by the outer product of two normal vectors,
which has an effect of the same size on any one input. The hinges apply to logits and have a margin. Of all iterates
that keep the promised order, the one with the smallest cosines is released; if there is none, the clean row is
released. ``deep-defense-literal`` uses the published losses instead, releases the last iterate and verifies nothing.
The sensitivity of a layer is that of the predicted class, where the paper takes the label.
The map whose order is kept is that of the explanation that is served: Grad-CAM, Relevance-CAM, Gradient x Input, or
Libra-CAM with the victim's library and the references that the victim's own map accepts. Zeros of a map that has no
negative values have no order. If no explanation is served, it is the Grad-CAM map, and none for a network without a
convolution. Maps are not verified: their hinge is only part of the loss, and a map that became constant breaks no order.
Published number: clones at 8 to 12 % with the top-1 kept. Reproduced: no; such numbers appear only where most of the
released labels are wrong, as with the literal variant.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn

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
from arena.defenses.parts.kept_maps import KeptMap, kept_map
from arena.defenses.parts.layer_weights import (
    BOTTOM,
    TOP,
    Weights,
    in_part,
    layers_of,
    selected,
    sensitivities,
    split_of,
    weights_of,
)
from arena.defenses.parts.misdirection_objective import ROW, SMOOTH, cosine, keeps_order, map_hinge, order_hinge
from arena.defenses.parts.query_networks import CONSTANTS, MAP, Iterate, QueryNetworks, View, gradients
from arena.learning.randomness import generator, keyed_normal
from arena.learning.release import released

_CPU_WEIGHTS = 4 << 20  # of all queries together: malloc maps blocks over 32 MiB afresh each time, page by page


@dataclass(frozen=True, kw_only=True)
class DeepDefense(Defense):
    """``alpha`` weights the cosine below the activation; ``order_weight`` and ``map_weight`` weight the hinges.

    The activation is the ``back``-th convolutional one from the end, or without a convolution the input of the
    ``back``-th layer with weights; an explanation has its own ``back``. The first ``k`` classes keep their order (None:
    all classes), by a ``hinge`` with ``margin`` on logits or posteriors. SGD takes ``steps`` steps with ``lr`` and ``momentum``, and starts ``noise`` standard deviations of each
    layer's weights away from the victim. Layers are selected in falling order of sensitivity, measured on ``rows``
    training rows, until they account for a share ``sensitivity`` of the total. ``at_once`` queries are solved together,
    fewer on a CPU if the network is large. A query is finished once its cosines are within ``tolerance``.
    """

    trained_by: ClassVar[frozenset[str]] = frozenset({"rows"})
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("sensitivity", (0.5, 0.7, 0.9))

    alpha: float = 0.5
    back: int = 1
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
                f"alpha = {self.alpha} must lie in [0, 1], sensitivity = {self.sensitivity} in (0, 1] and momentum = "
            )
            message += f"{self.momentum} in [0, 1)"
            raise BadParameter(message)
        if (
            min(self.order_weight, self.map_weight, self.margin, self.noise, self.steps, self.tolerance) < 0
            or self.lr <= 0
        ):
            message = (
                "order_weight, map_weight, margin, noise, steps and tolerance must be at least 0, and lr more than 0"
            )
            raise BadParameter(message)
        if min(self.back, self.rows, self.at_once, 1 if self.k is None else self.k) < 1:
            message = "back, rows, at_once and k must be at least 1"
            raise BadParameter(message)

    @property
    def promise(self) -> Promise:
        return Promise(argmax=self.release == "verified", noise="keyed" if self.noise > 0 else "none")

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        """Measure how sensitive the posterior of the predicted class is to each layer."""
        chosen = torch.randperm(len(context.training[0]), generator=rng)[: self.rows]
        by_layer = sensitivities(
            split_of(_module(context), back=self.back), context.training[0][chosen].to(context.device)
        )
        return {"sensitivities": torch.stack(list(by_layer.values()))}

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        module, victim, device = _module(context), context.victim, context.device
        weights = weights_of(split_of(module, back=self.back))
        names = selected(weights, state["sensitivities"].tolist(), share=self.sensitivity)
        context.note("moved_layers", len(layers_of({name: weights[name] for name in names})))
        key, library = (int(torch.randint(2**62, (1,), generator=rng).item()) for _ in range(2))
        references = context.training[0]
        kept = kept_map(
            context.explanation, module, back=self.back, references=references, rng=generator(library, "library")
        )
        solver = Misdirection(self, module, names, victim.task.shape, kept=kept)
        at_once = self.at_once if device.type != "cpu" else max(1, min(self.at_once, _CPU_WEIGHTS // solver.columns))

        def maps_of(inputs: Tensor, solution: Solution) -> list[Tensor]:
            """Explain each row by the network that answered it."""
            if context.explanation is None:
                return []
            maps = []
            for number, row in enumerate(solution.rows.cpu()):
                network = solver.networks.with_weights(
                    {name: value[number] for name, value in solution.weights.items()}
                )
                explain = context.explanation.deploy(network, references, rng=generator(library, "library"))
                maps.append(explain(inputs[number : number + 1], row.argmax(dim=0, keepdim=True)))
            return maps

        def respond(queries: QueryBatch) -> Answer:
            clean = victim(queries.inputs)
            rows, maps = [], []
            for inputs, answers in zip(queries.inputs.split(at_once), clean.split(at_once), strict=True):
                x, y, normal = inputs.to(device), answers.to(device), keyed_normal(inputs, solver.columns, key=key)
                solution = solver.solve(x, y, normal.to(device), keep=queries.explain)
                rows.append(solution.rows.cpu())
                if queries.explain:
                    maps += maps_of(inputs, solution)
            answer = released(torch.cat(rows))
            return replace(answer, explanations=torch.cat(maps)) if maps else answer

        return respond


class Solution(NamedTuple):
    """The rows (N, K) to release for N queries, and the weights behind them by name, if these were kept."""

    rows: Tensor
    weights: Weights


class Objective(NamedTuple):
    """The loss of each query (N,), with its autograd graph, and the weighted sum of its absolute cosines (N,)."""

    loss: Tensor
    alignment: Tensor


@dataclass(kw_only=True, eq=False)
class Search:
    """The N unfinished queries of a call, and the state of the search for each of them."""

    active: Tensor  # (N,) int64: the positions of these queries in the call
    inputs: Tensor  # (N, ...): what the first selected layer receives
    order: Tensor  # (N, K): the victim's classes from the most to the least likely
    targets: Weights  # the victim's gradients and its map
    iterate: Iterate
    velocity: Weights

    def narrow(self, unfinished: Tensor) -> None:
        """Drop every query that a mask (N,) does not mark as unfinished."""
        if bool(unfinished.all()):
            return
        self.active, self.inputs, self.order = (part[unfinished] for part in (self.active, self.inputs, self.order))
        self.targets, dense, self.velocity = (
            {name: value[unfinished] for name, value in part.items()}
            for part in (self.targets, self.iterate.dense, self.velocity)
        )
        for matrix in self.iterate.factored.values():
            matrix.keep(unfinished)
        self.iterate = replace(self.iterate, dense=dense)


@dataclass(kw_only=True, eq=False)
class Best:
    """The best iterate so far for each of N queries, at first the victim's answer with infinite alignment."""

    rows: Tensor  # (N, K)
    alignment: Tensor  # (N,)
    weights: Weights  # empty unless they are to be kept

    def record(self, better: Tensor, search: Search, posteriors: Tensor) -> None:
        """Copy the rows and weights of those active queries that a mask marks as better."""
        places = search.active[better]
        self.rows[places] = posteriors[better]
        for name, value in self.weights.items():
            dense, factored = search.iterate.dense, search.iterate.factored
            value[places] = dense[name][better] if name in dense else factored[name].dense(better)


class Misdirection:
    """Solves for the weights ``names`` of many queries at once; ``shape`` is that of one input.

    A query has the same solution as it would have alone, up to the last bits of float32.
    """

    def __init__(
        self,
        terms: DeepDefense,
        module: nn.Module,
        names: Sequence[str],
        shape: Sequence[int],
        *,
        kept: KeptMap | None = None,
    ) -> None:
        self._terms, self._verified = terms, terms.release == "verified"
        self._kept = kept if terms.map_weight > 0 else None
        split = partial(split_of, back=terms.back)
        self.networks = QueryNetworks(split, module, names, shape, kept=self._kept)
        self.columns = self.networks.columns

    def solve(self, inputs: Tensor, clean: Tensor, normal: Tensor, *, keep: bool = False) -> Solution:
        """Return the rows to release for inputs (N, *shape) and, with ``keep``, the weights behind them.

        ``clean`` (N, K) are the victim's rows, ``normal`` (N, columns) standard normal numbers.
        """
        search, best = self._started(inputs, clean, normal), self._clean(clean, keep=keep)
        for step in range(self._terms.steps + 1):
            view = self.networks.view(search.iterate, search.inputs, search.order[:, 0], search.targets[CONSTANTS])
            objective = self._objective(view, search)
            self._record(best, search, view, objective.alignment)
            unfinished = best.alignment[search.active] > self._terms.tolerance
            if step == self._terms.steps or not bool(unfinished.any()):
                break
            self._descend(search, view, objective.loss)
            search.narrow(unfinished)
        return Solution(best.rows, best.weights)

    def _started(self, inputs: Tensor, clean: Tensor, normal: Tensor) -> Search:
        """Return the search at its start; its targets are the victim's own gradients and map."""
        order = clean.argsort(dim=1, descending=True, stable=True)
        empty = inputs.new_empty(len(inputs), 0)
        constants = empty if self._kept is None else self._kept.prepare(inputs, order[:, 0])
        inputs = self.networks.before_selected(inputs)
        victim = self.networks.view(self._displaced(torch.zeros_like(normal)), inputs, order[:, 0], constants)
        found = {**victim.gradients, MAP: victim.map, CONSTANTS: constants}
        targets = {name: value.detach() for name, value in found.items()}
        iterate = self._displaced(normal)
        return Search(
            active=torch.arange(len(inputs), device=inputs.device),
            inputs=inputs,
            order=order,
            targets=targets,
            iterate=iterate,
            velocity={name: torch.zeros_like(value) for name, value in iterate.dense.items()},
        )

    def _displaced(self, normal: Tensor) -> Iterate:
        """Return weights that are ``noise`` standard deviations of each layer's weights away from the victim's."""
        terms = self._terms
        return self.networks.displaced(
            normal, noise=terms.noise, steps=terms.steps, lr=terms.lr, momentum=terms.momentum
        )

    def _clean(self, clean: Tensor, *, keep: bool) -> Best:
        """Return the victim's rows and, with ``keep``, its weights, which are released if the search finds nothing."""
        weights = self.networks.selected if keep else {}
        return Best(
            rows=clean.clone(),
            alignment=clean.new_full((len(clean),), torch.inf),
            weights={name: value.expand(len(clean), *value.shape).clone() for name, value in weights.items()},
        )

    @torch.enable_grad()
    def _objective(self, view: View, search: Search) -> Objective:
        """Return the quantities that the search minimises for each active query."""
        terms = self._terms
        scores = view.logits if terms.hinge == "logit" else view.logits.softmax(dim=1)
        loss = terms.order_weight * order_hinge(scores, search.order, self._kept_classes(search), margin=terms.margin)
        alignment = torch.zeros_like(loss)
        for share, part in ((terms.alpha, BOTTOM), (1 - terms.alpha, TOP)):
            if of_part := in_part(view.gradients, part):
                cos = cosine(of_part, in_part(search.targets, part))
                loss, alignment = loss + share * (cos.square() + SMOOTH**2).sqrt(), alignment + share * cos.abs()
        if self._kept is not None:
            hinge = map_hinge(view.map, search.targets[MAP], literal=not self._verified, signed=self._kept.signed)
            loss = loss + terms.map_weight * hinge
        return Objective(loss, alignment.detach())

    def _record(self, best: Best, search: Search, view: View, alignment: Tensor) -> None:
        """Record each iterate that keeps the order and lowers the alignment; unverified, every finite one."""
        posteriors = view.logits.detach().softmax(dim=1)
        if self._verified:
            better = (alignment < best.alignment[search.active]) & keeps_order(
                posteriors, search.order, self._kept_classes(search)
            )
            best.alignment[search.active[better]] = alignment[better]
        else:
            better = posteriors.isfinite().all(dim=1)  # a diverging descent ends in NaN
        best.record(better, search, posteriors)

    def _descend(self, search: Search, view: View, loss: Tensor) -> None:
        """Take one step of SGD with momentum on the selected weights of every active query."""
        terms, iterate = self._terms, search.iterate
        by_weights, by_outputs, by_pulls = gradients(loss, view.weights, view.outputs, view.pulls)
        for name, gradient in by_weights.items():
            velocity = search.velocity[name].mul_(terms.momentum).add_(gradient)
            iterate.dense[name].sub_(velocity, alpha=terms.lr)
        for name, matrix in iterate.factored.items():
            left = torch.cat([by_outputs[name].unsqueeze(1), view.deltas[name]], dim=1)
            right = torch.cat([view.gradients[name + ROW].unsqueeze(1), by_pulls[name]], dim=1)
            matrix.step(left.detach(), right.detach())

    def _kept_classes(self, search: Search) -> int:
        classes = search.order.shape[1]
        return min(self._terms.k or classes, classes)


def _module(context: DefenseContext) -> nn.Module:
    """Return a copy of the victim's network: `functional_call` swaps weights while other threads query the victim."""
    if context.victim.module is None:
        message = "deep-defense needs the victim's weights, but this victim only answers queries"
        raise NeedUnmet(message)
    return copy.deepcopy(context.victim.module)
