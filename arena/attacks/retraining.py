"""Train a shallow network on answers for points of one's own making, a few for each weight that is to be found.

Source: Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing Machine Learning Models via Prediction APIs", USENIX
Security 2016, arXiv 1609.02943, sections 4.1.3 and 6.1: retraining with uniform, line-search and adaptive queries.
Departures: soft rows are fitted as they are; the clone is twice as wide as the victim is thought to be, and the best
of a few restarts by training loss. All pairs of a line search are bisected side by side.
Published number: near perfect agreement with 5 queries for each weight of 20 hidden units. Reproduced: direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.transfer_set import TransferSet, shares
from arena.contracts import Attack, AttackContext, BadParameter, Oracle, StopReason, Task
from arena.learning.architectures import build
from arena.learning.randomness import child
from arena.learning.training import minimise, predict, soft_cross_entropy


@dataclass(frozen=True, kw_only=True)
class Retraining(Attack):
    """``hidden`` units are the guess at the victim's; the clone has twice as many.

    ``policy`` draws the points: ``uniform`` all over [0, 1], ``line-search`` half of them so and the rest on the way
    to a boundary, ``bisections`` for each pair, ``adaptive`` in ``rounds`` where the clone so far is least sure among
    ``candidates`` times as many. ``restarts``, ``l2`` and ``iterations`` are those of the fit.
    """

    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"deadline"})

    policy: Literal["uniform", "line-search", "adaptive"] = "adaptive"
    hidden: int = 20
    rounds: int = 5
    candidates: int = 10
    bisections: int = 6
    restarts: int = 3
    l2: float = 1e-5
    iterations: int = 300

    def __post_init__(self) -> None:
        if min(self.hidden, self.rounds, self.candidates, self.bisections, self.restarts, self.iterations) < 1:
            message = "hidden, rounds, candidates, bisections, restarts and iterations are at least 1"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Ask points by the policy, then fit."""
        bought, points, fits = TransferSet(oracle), child(rng), child(rng)
        if self.policy == "adaptive":
            for number, share in enumerate(shares(oracle.remaining, self.rounds)):
                if context.time_left() <= 0:
                    break
                clone = self._fitted(bought, context, rng=fits) if number else None
                bought.ask(self._unsure(clone, oracle.task, share, rng=points))
        elif self.policy == "line-search":
            bought.ask(uniform(oracle.task, oracle.remaining - oracle.remaining // 2, rng=points))
            self._bisect(bought, context, rng=points)
        if context.time_left() > 0 or not len(bought):
            bought.ask(uniform(oracle.task, oracle.remaining, rng=points))
        return self._fitted(bought, context, rng=fits)

    def _unsure(self, clone: nn.Module | None, task: Task, rows: int, *, rng: Generator) -> Tensor:
        """Return uniform points, of many those on which the two classes that lead are closest."""
        if clone is None:
            return uniform(task, rows, rng=rng)
        many = uniform(task, self.candidates * rows, rng=rng)
        best = predict(clone, many).topk(2, dim=1).values
        return many[(best[:, 0] - best[:, 1]).argsort(stable=True)[:rows]]

    def _bisect(self, bought: TransferSet, context: AttackContext, *, rng: Generator) -> None:
        """Ask the middle between two points of different labels, and again in the half where the label changes."""
        inputs, released = bought.answered()
        labels = released.argmax(dim=1)
        budget = bought.remaining
        first, second = opposite_pairs(labels, -(-budget // self.bisections), rng=rng)
        near, far, label = inputs[first], inputs[second], labels[first]
        for _ in range(self.bisections):
            if context.time_left() <= 0:
                break
            middle = ((near + far) / 2)[: bought.remaining]  # the last pairs go without their last rows
            asked = len(middle)
            same = bought.ask(middle).argmax(dim=1) == label[:asked]
            here = same.reshape(-1, *[1] * (middle.dim() - 1))
            near, far = torch.where(here, middle, near[:asked]), torch.where(here, far[:asked], middle)
            label = label[:asked]

    def _fitted(self, bought: TransferSet, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Return the restart with the lowest training loss, fitted to all answers so far."""
        inputs, released = (rows.to(context.device, torch.float64) for rows in bought.answered())
        fits = []
        for _ in range(self.restarts):
            network = build(f"mlp-{2 * self.hidden}", bought.task, rng=rng).to(context.device, torch.float64)
            loss = self._fit(network, 2 * inputs - 1, released, time_left=context.time_left)
            fits.append((loss, network))
        best = min(fits, key=lambda fit: fit[0])[1]
        take_unit_inputs(best)
        return best.float().eval()

    def _fit(self, network: nn.Module, inputs: Tensor, released: Tensor, *, time_left: Callable[[], float]) -> float:
        weights = [layer.weight for layer in network.modules() if isinstance(layer, nn.Linear)]

        def loss() -> Tensor:
            penalty = torch.stack([weight.square().sum() for weight in weights]).sum()
            return soft_cross_entropy(network(inputs), released) + self.l2 * penalty

        iterations = self.iterations if len(inputs) else 0
        return minimise(loss, network.parameters(), iterations=iterations, time_left=time_left)


def uniform(task: Task, rows: int, *, rng: Generator) -> Tensor:
    """Return (N, *shape) of U[0, 1]."""
    return torch.rand(rows, *task.shape, generator=rng)


def opposite_pairs(labels: Tensor, pairs: int, *, rng: Generator) -> tuple[Tensor, Tensor]:
    """Return indices (P,) and (P,) of rows whose labels (N,) differ, at most ``pairs``, none twice in either order.

    Firsts and seconds come from two disjoint parts of the rows, and each first is there once.
    """
    order = torch.randperm(len(labels), generator=rng)
    firsts, rest = order[:pairs], order[pairs:]
    found = [(firsts[:0], firsts[:0])]
    for label in labels[firsts].unique():
        own, others = firsts[labels[firsts] == label], rest[labels[rest] != label]
        if len(others):
            found.append((own, others[torch.randint(len(others), (len(own),), generator=rng)]))
    first, second = (torch.cat(part) for part in zip(*found, strict=True))
    return first, second


def take_unit_inputs(network: nn.Module) -> None:
    """Change the first layer of a network that was trained on u = 2 x - 1 so that it takes x: W u + b = 2 W x + b - W 1."""
    layer = next(module for module in network.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        layer.bias.sub_(layer.weight.sum(dim=1))
        layer.weight.mul_(2)
