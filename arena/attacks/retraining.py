"""Train a shallow network on the answers to synthetic queries, a few for each weight of the victim.

Source: Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing Machine Learning Models via Prediction APIs", USENIX
Security 2016, arXiv 1609.02943, sections 4.1.3 and 6.1: retraining with uniform, line-search and adaptive queries.
Departures: Confidence scores are fitted as they are. The clone is twice as wide as the victim is thought to be, and is
the best of a few restarts by training loss. All pairs of a line search are bisected in parallel.
Published number: near perfect agreement with 5 queries for each weight of 20 hidden units. Reproduced: direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.transfer_set import TransferSet, shares
from arena.contracts import Attack, AttackContext, BadParameter, Oracle, StopReason, Task
from arena.learning.architectures import build
from arena.learning.randomness import child
from arena.learning.training import minimise, predict, soft_cross_entropy


@dataclass(frozen=True, kw_only=True)
class Retraining(Attack):
    """``hidden`` is a guess at the number of the victim's hidden units; the clone has twice as many.

    ``policy`` determines the queries. ``uniform`` draws them from [0, 1]. ``line-search`` draws half of them like that,
    and spends the rest on ``bisections`` between pairs with different labels, to approach the decision boundary.
    ``adaptive`` works in ``rounds``, each of which draws ``candidates`` times as many points and queries those of which
    the current clone is least certain. ``restarts``, ``l2`` and ``iterations`` configure the fit.
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
            message = "hidden, rounds, candidates, bisections, restarts and iterations must be at least 1"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Query points by the policy, then fit."""
        transfer_set, points, fits = TransferSet(oracle), child(rng), child(rng)
        if self.policy == "adaptive":
            for number, share in enumerate(shares(oracle.remaining, self.rounds)):
                if context.time_left() <= 0:
                    break
                clone = self.fitted(transfer_set, context, rng=fits) if number else None
                transfer_set.extend(self._unsure(clone, oracle.task, share, rng=points))
        elif self.policy == "line-search":
            transfer_set.extend(uniform(oracle.task, oracle.remaining - oracle.remaining // 2, rng=points))
            self._bisect(transfer_set, context, rng=points)
        if context.time_left() > 0 or not len(transfer_set):
            transfer_set.extend(uniform(oracle.task, oracle.remaining, rng=points))
        return self.fitted(transfer_set, context, rng=fits)

    def _unsure(self, clone: nn.Module | None, task: Task, rows: int, *, rng: Generator) -> Tensor:
        """Return the uniform points, among many, on which the posteriors of the two leading classes are closest."""
        if clone is None:
            return uniform(task, rows, rng=rng)
        many = uniform(task, self.candidates * rows, rng=rng)
        best = predict(clone, many).topk(2, dim=1).values
        return many[(best[:, 0] - best[:, 1]).argsort(stable=True)[:rows]]

    def _bisect(self, transfer_set: TransferSet, context: AttackContext, *, rng: Generator) -> None:
        """Query the middle between two points of different labels, then again in the half where the label changes."""
        inputs, released = transfer_set.answered()
        labels = released.argmax(dim=1)
        budget = transfer_set.remaining
        first, second = opposite_pairs(labels, -(-budget // self.bisections), rng=rng)
        near, far, label = inputs[first], inputs[second], labels[first]
        for _ in range(self.bisections):
            if context.time_left() <= 0:
                break
            middle = ((near + far) / 2)[: transfer_set.remaining]  # the budget may end before the last pairs do
            queried = len(middle)
            same = transfer_set.extend(middle).argmax(dim=1) == label[:queried]
            kept = same.reshape(-1, *[1] * (middle.dim() - 1))
            near, far = torch.where(kept, middle, near[:queried]), torch.where(kept, far[:queried], middle)
            label = label[:queried]

    def fitted(self, transfer_set: TransferSet, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Return the best by training loss of several networks that are fitted to the transfer set, in eval mode."""
        inputs, released = (rows.to(context.device, torch.float64) for rows in transfer_set.answered())
        fits = []
        for _ in range(self.restarts):
            network = build(f"mlp-{2 * self.hidden}", transfer_set.task, rng=rng).to(context.device, torch.float64)
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
    """Return rows (N, *shape) drawn uniformly from [0, 1]."""
    return torch.rand(rows, *task.shape, generator=rng)


class Pairs(NamedTuple):
    """The indices of P pairs of rows: (P,) and (P,)."""

    first: Tensor
    second: Tensor


def opposite_pairs(labels: Tensor, pairs: int, *, rng: Generator) -> Pairs:
    """Return at most ``pairs`` pairs of rows whose labels (N,) differ, no pair twice in either order.

    The first and second rows come from two disjoint parts of the rows, and each first row appears once.
    """
    order = torch.randperm(len(labels), generator=rng)
    firsts, rest = order[:pairs], order[pairs:]
    pairs_by_label = [(firsts[:0], firsts[:0])]
    for label in labels[firsts].unique():
        of_label, others = firsts[labels[firsts] == label], rest[labels[rest] != label]
        if len(others):
            pairs_by_label.append((of_label, others[torch.randint(len(others), (len(of_label),), generator=rng)]))
    return Pairs(*(torch.cat(part) for part in zip(*pairs_by_label, strict=True)))


def take_unit_inputs(network: nn.Module) -> None:
    """Change the first layer of a network trained on u = 2 x - 1 so that it accepts x: W u + b = 2 W x + b - W 1."""
    layer = next(module for module in network.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        layer.bias.sub_(layer.weight.sum(dim=1))
        layer.weight.mul_(2)
