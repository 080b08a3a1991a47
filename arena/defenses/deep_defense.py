"""Answer each query from a model of its own, whose training gradient there is orthogonal to the victim's.

Source: J. Lee, S. Han, S. Lee, "Model Stealing Defense against Exploiting Information Leak through the Interpretation of
Deep Neural Nets", IJCAI 2022, pp. 710-716, doi 10.24963/ijcai.2022/100. There is no public code, and its constants are
not known to us: all defaults are ours.
For a query x the selected weights w' start near the victim's w and lower alpha |cos(g_B, g'_B)| + (1 - alpha) |cos(g_T,
g'_T)|, g the gradient of the class's log-odds by the weights below and above an activation, plus hinges that keep the
order of the first k classes and of the attribution map. The layers are those that carry most of the sensitivity.
Departures: the log-odds stand for the posterior, whose gradient has the same direction and vanishes where it is near 1.
The start is moved a little at random, keyed by the query: at w the cosine is stationary and nothing would move. The
hinges are on logits, with a margin, and of all iterates that keep the promised order the one with the smallest cosines is
released; where none does, the clean row is. ``deep-defense-literal`` has the published losses instead, releases the last
iterate and verifies nothing.
Published number: clones at 8 to 12 % with the top-1 kept. Reproduced: not; that number appears where most released labels
are wrong, as in the literal variant.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import normalize

from arena.contracts import (
    Answer,
    BadParameter,
    DefenderGround,
    Defense,
    NeedUnmet,
    Promise,
    QueryBatch,
    Responder,
    State,
)
from arena.learning.chains import Split, chain, split_after_convolution
from arena.learning.randomness import generator, keyed_normal
from arena.learning.release import MARGIN, released

Weights = dict[str, Tensor]
"""Selected weights by name, ``bottom.`` and ``top.`` before those of the two parts; of many queries the first dimension."""

SMOOTH = 1e-3
"""|cos| is sqrt(cos^2 + this^2): where it is 0, the last bit would decide on which side the next step goes."""

_TINY = 1e-24  # under the root of a squared norm, whose gradient at zero is not a number
_BOTTOM, _TOP = "bottom.", "top."
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
    at_once: int = 32

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

    def train(self, ground: DefenderGround, *, rng: Generator) -> State:
        """Measure how sensitive the posterior of the predicted class is to each layer."""
        chosen = torch.randperm(len(ground.training[0]), generator=rng)[: self.rows]
        found = sensitivities(split_of(_module(ground)), ground.training[0][chosen].to(ground.device))
        return {"sensitivities": torch.stack(list(found.values()))}

    def deploy(self, ground: DefenderGround, state: State, *, rng: Generator) -> Responder:
        module, victim, device = _module(ground), ground.victim, ground.device
        names = selected(weights_of(split_of(module)), state["sensitivities"].tolist(), share=self.sensitivity)
        solver = Misdirection(self, module, names)
        at_once = self.at_once if device.type != "cpu" else max(1, min(self.at_once, _CPU_WEIGHTS // solver.columns))
        key, library = (int(torch.randint(2**62, (1,), generator=rng).item()) for _ in range(2))

        def respond(queries: QueryBatch) -> Answer:
            clean, explaining = victim(queries.inputs), queries.explain
            rows, maps = [], []
            for inputs, answers in zip(queries.inputs.split(at_once), clean.split(at_once), strict=True):
                x, y, normal = inputs.to(device), answers.to(device), keyed_normal(inputs, solver.columns, key=key)
                found, weights = solver.solve(x, y, normal.to(device), keep=explaining)
                rows.append(found.cpu())
                if ground.explanation is not None and explaining:
                    for number, row in enumerate(rows[-1]):
                        explain = ground.explanation.deploy(
                            solver.network({name: value[number] for name, value in weights.items()}),
                            ground.training[0],
                            rng=generator(library, "library"),
                        )
                        maps.append(explain(inputs[number : number + 1], row.argmax(dim=0, keepdim=True)))
            answer = released(torch.cat(rows))
            return replace(answer, explanations=torch.cat(maps)) if maps else answer

        return respond


class Misdirection:
    """Solves for the weights of many queries at once; ``names`` are the selected ones.

    A query is solved as it would be alone, but for the last bits of float32, which its steps enlarge.
    """

    def __init__(self, terms: DeepDefense, module: nn.Module, names: Sequence[str]) -> None:
        self._terms, self._module, self._split = terms, module, split_of(module)
        every = weights_of(self._split)
        self._fixed = {name: value for name, value in every.items() if name not in names}
        self._victim = {name: every[name] for name in names}
        self._with_maps = terms.map_weight > 0 and _is_image_network(module)
        self.columns = sum(value.numel() for value in self._victim.values())

    def solve(self, inputs: Tensor, clean: Tensor, normal: Tensor, *, keep: bool = False) -> tuple[Tensor, Weights]:
        """Return the rows (N, K) float32 to release for inputs (N, *shape), and with ``keep`` the weights behind them.

        ``clean`` (N, K) are the victim's rows, ``normal`` (N, columns) standard normal numbers.
        """
        terms, k = self._terms, min(self._terms.k or clean.shape[1], clean.shape[1])
        verified = terms.release == "verified"
        order = clean.argsort(dim=1, descending=True, stable=True)
        aims = vmap(self._aim, in_dims=(None, 0, 0))(self._victim, inputs, order[:, 0])
        weights = self._moved(normal)
        speed = {name: torch.zeros_like(value) for name, value in weights.items()}
        rows, best = clean.clone(), torch.full((len(inputs),), torch.inf, device=inputs.device)
        kept = {name: value.expand_as(weights[name]).clone() for name, value in self._victim.items()} if keep else {}
        live = torch.arange(len(inputs), device=inputs.device)  # the queries that are not done
        advance = vmap(grad(self._loss, has_aux=True), in_dims=(0, 0, 0, 0, None))
        for step in range(terms.steps + 1):
            slopes, (aligned, logits) = advance(weights, inputs, order, aims, k)
            posteriors = logits.softmax(dim=1)
            better = (aligned < best[live]) & keeps_order(posteriors, order, k)
            if not verified:
                better = torch.full_like(better, step == terms.steps)
            best[live[better]], rows[live[better]] = aligned[better], posteriors[better]
            for name, value in kept.items():
                value[live[better]] = weights[name][better]
            going = best[live] > terms.tolerance
            if step == terms.steps or not bool(going.any()):
                break
            for name, slope in slopes.items():  # in place: the weights of many queries are more than a cache holds
                weights[name].sub_(speed[name].mul_(terms.momentum).add_(slope), alpha=terms.lr)
            if verified and not bool(going.all()):
                live, inputs, order = live[going], inputs[going], order[going]
                aims = (aims[0][going], aims[1][going], aims[2][going])
                weights, speed = ({name: value[going] for name, value in part.items()} for part in (weights, speed))
        return rows, kept

    def network(self, weights: Weights) -> nn.Module:
        """Return the victim's network with the weights of one query."""
        network = copy.deepcopy(self._module)
        with torch.no_grad():
            for name, value in weights_of(split_of(network)).items():
                if name in weights:
                    value.copy_(weights[name])
        return network

    def _moved(self, normal: Tensor) -> Weights:
        """Return the start of each query: ``noise`` standard deviations of each layer's weights off the victim's."""
        parts = normal.split([value.numel() for value in self._victim.values()], dim=1)
        return {
            name: value + self._terms.noise * value.std(correction=0) * part.reshape(-1, *value.shape)
            for (name, value), part in zip(self._victim.items(), parts, strict=True)
        }

    def _aim(self, weights: Weights, inputs: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the directions of the victim's gradients at one query, below and above, and its map (none: a 0)."""
        slopes, (_, activation) = grad(self._score, has_aux=True)(weights, inputs, label)
        here = self._map(weights, activation, label) if self._with_maps else inputs.new_zeros(1)
        below, above = (normalize(_part(slopes, prefix), dim=0) for prefix in (_BOTTOM, _TOP))
        return below, above, here

    def _loss(
        self, weights: Weights, inputs: Tensor, order: Tensor, aims: tuple[Tensor, Tensor, Tensor], k: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the loss of one query, with its cosines and its logits (K,)."""
        terms, (below, above, own_map) = self._terms, aims
        slopes, (logits, activation) = grad(self._score, has_aux=True)(weights, inputs, order[0])
        cosines = torch.stack([cosine(_part(slopes, _BOTTOM), below), cosine(_part(slopes, _TOP), above)])
        shares = cosines.new_tensor([terms.alpha, 1 - terms.alpha])
        scores = logits if terms.hinge == "logit" else logits.softmax(dim=0)
        loss = shares @ (cosines.square() + SMOOTH**2).sqrt() + terms.order_weight * order_hinge(
            scores, order, k, margin=terms.margin
        )
        if self._with_maps:
            here = self._map(weights, activation, order[0])
            loss = loss + terms.map_weight * map_hinge(here, own_map, literal=terms.release == "last")
        return loss, (shares @ cosines.abs(), logits)

    def _score(self, weights: Weights, inputs: Tensor, label: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the log-odds of a class for one query, with its logits (K,) and its activation (1, ...)."""
        every = {**self._fixed, **weights}
        activation = _run(self._split.bottom, every, _BOTTOM, inputs.unsqueeze(0))
        logits = _run(self._split.top, every, _TOP, activation).squeeze(0)
        return log_odds(logits, label), (logits, activation)

    def _map(self, weights: Weights, activation: Tensor, label: Tensor) -> Tensor:
        """Return the Grad-CAM (h w,) of one query's activation (1, C, h, w) for a class."""
        every = {**self._fixed, **weights}

        def logit(values: Tensor) -> Tensor:
            return _run(self._split.top, every, _TOP, values).squeeze(0).gather(0, label.unsqueeze(0)).squeeze(0)

        channels = grad(logit)(activation).mean(dim=(2, 3), keepdim=True)
        cam: Tensor = (channels * activation).sum(dim=1).clamp(min=0).flatten()
        return cam


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
    """Return z_y - logsumexp over the other classes of logits (K,): the log of p_y / (1 - p_y)."""
    chosen = torch.arange(len(logits), device=logits.device) == label
    return torch.where(chosen, logits, 0.0).sum() - torch.where(chosen, -torch.inf, logits).logsumexp(dim=0)


def cosine(vector: Tensor, direction: Tensor) -> Tensor:
    """Return the cosine of a vector and one of length 1; 0 of none, and of a vector of zeros."""
    return (vector @ direction) / (vector @ vector + _TINY).sqrt()


def order_hinge(scores: Tensor, order: Tensor, k: int, *, margin: float) -> Tensor:
    """Return how far the scores (K,) are from keeping the first ``k`` of ``order`` (K,) in order, and above the rest.

    Source: L_pred of the paper: the sum over i < k of (f_(i+1) - f_i + m)+, and for k < K (max of the rest - f_k + m)+.
    """
    ranked = scores.gather(0, order)
    within = (ranked[1:k] - ranked[: k - 1] + margin).clamp(min=0).sum()
    if k == len(scores):
        return within
    return within + (ranked[k:].amax() - ranked[k - 1] + margin).clamp(min=0)


def map_hinge(here: Tensor, own: Tensor, *, literal: bool) -> Tensor:
    """Return how far a map (P,) is from the order of the victim's ``own``: the sum of rises along it (L_int).

    ``literal`` sums over all places, as printed. Else as shares of the own map's maximum, over the places where it is
    positive, and of the largest of the other places over the smallest of those: zeros of a ReLU have no order.
    """
    places = own.argsort(descending=True, stable=True)
    ranked = here.gather(0, places)
    rises = (ranked[1:] - ranked[:-1]).clamp(min=0)
    if literal:
        return rises.sum()
    positive = own.gather(0, places) > 0
    lowest = torch.where(positive, ranked, torch.inf).amin()
    above = (torch.where(positive, 0.0, ranked).amax() - lowest).clamp(min=0)
    return ((rises * positive[1:]).sum() + above) / own.amax().clamp(min=_TINY)


def keeps_order(posteriors: Tensor, order: Tensor, k: int) -> Tensor:
    """Return whether rows (N, K) float32 have their first ``k`` in the order (N, K), above the rest; the first leads."""
    ranked = posteriors.gather(1, order)
    leads = ranked[:, 0] - ranked[:, 1:].amax(dim=1) >= MARGIN
    falls = (ranked[:, 1:k] < ranked[:, : k - 1]).all(dim=1)
    if k == posteriors.shape[1]:
        return leads & falls
    return leads & falls & (ranked[:, k:].amax(dim=1) < ranked[:, k - 1])


def _module(ground: DefenderGround) -> nn.Module:
    """Return a copy: `functional_call` puts other weights into a network while it runs, and others ask this victim too."""
    if ground.victim.module is None:
        message = "deep-defense needs the victim's weights, and this victim gives answers alone"
        raise NeedUnmet(message)
    return copy.deepcopy(ground.victim.module)


def _is_image_network(module: nn.Module) -> bool:
    return any(isinstance(layer, nn.Conv2d) for layer in module.modules())


def _run(part: nn.Module, weights: Weights, prefix: str, inputs: Tensor) -> Tensor:
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    outputs: Tensor = functional_call(part, own, (inputs,))
    return outputs


def _part(slopes: Weights, prefix: str) -> Tensor:
    """Return the gradients of one part as one vector, empty if none of its layers was selected."""
    found = [value.flatten() for name, value in slopes.items() if name.startswith(prefix)]
    return torch.cat(found) if found else next(iter(slopes.values())).new_zeros(0)


def _layer(name: str) -> str:
    return name.rpartition(".")[0]
