"""Learn, while asking, which parts of the pool teach most: a gradient bandit over a tree of groups of rows.

Source: Orekondy, Schiele, Fritz, "Knockoff Nets: Stealing Functionality of Black-Box Models", CVPR 2019, arXiv
1812.02766; the adaptive strategy with all three rewards.
Departures: pools have no labels, so the groups are k-means clusters of principal components, in two levels. Rows are
drawn without replacement and in batches; the policy is a tilt of random sampling, which it is where all preferences
are equal, and ``floor`` of it stays so. The first rows are random. A reward is a mean of ranks among recent rows, where
the paper sums rewards: a gentler bandit, as certainty and diversity both lead away from the boundary. The clone that
rewards are measured with, and the last one, start anew from every row so far.
Published number: none at equal terms (the paper's pools are ImageNet and OpenImages). Reproduced: formula.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.clustering import k_means, nearest_centre, principal_components
from arena.attacks.parts.rounds import FreshClones, Unasked
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import Attack, AttackContext, BadParameter, Need, Oracle, StopReason
from arena.learning.randomness import child
from arena.learning.training import padded_forward

Reward = Literal["certainty", "diversity", "loss"]

COMPONENTS = 50
CLUSTERED_ROWS = 10_000
"""Of the pool, from which components and centres are taken; every row then goes to its nearest centre."""

STRONGEST = 2.0
"""Preferences stay within this of 0: no group is drawn more than e^4 times as readily as its sibling."""


@dataclass(frozen=True, kw_only=True)
class KnockoffAdaptive(Attack):
    """``arms`` are the groups of the pool and the groups in each of them.

    The first ``warmup`` share of the budget is random. Then ``batch`` rows at once (or so many that ``batches`` spend
    the budget), of which ``floor`` stays random; ``step`` is the bandit's, ``rewards`` are ranked among those of the
    last ``window`` batches. The clone that they are measured with is trained anew, for ``steps_inner`` steps, each
    ``refit`` share of the budget; ``steps`` train the last one (None: the referee's recipe).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})
    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"pool exhausted", "deadline"})

    arms: tuple[int, int] = (8, 8)
    warmup: float = 0.3
    batch: int = 50
    batches: int = 40
    floor: float = 0.5
    step: float = 0.5
    window: int = 10
    rewards: tuple[Reward, ...] = ("certainty", "diversity", "loss")
    refit: float = 0.1
    arch: str = "auto"
    steps_inner: int = 400
    steps: int | None = None

    def __post_init__(self) -> None:
        if min(*self.arms, self.batch, self.batches, self.window) < 1 or not self.rewards:
            message = "arms, batch, batches and window are at least 1, and there is at least one reward"
            raise BadParameter(message)
        if not all(0 <= share <= 1 for share in (self.warmup, self.floor, self.refit)) or self.step <= 0:
            message = f"warmup = {self.warmup}, floor = {self.floor} and refit = {self.refit} lie in [0, 1], and "
            message += f"step = {self.step} is more than 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Ask at random, then where it paid, until the budget or the pool is over."""
        clones, choice = FreshClones(self.arch, oracle.task, context, rng=rng), child(rng)
        unasked, bought = Unasked(context.pool, rng=choice), TransferSet(oracle)
        budget = min(oracle.remaining, len(unasked))
        batch = max(self.batch, math.ceil(budget / self.batches))
        bought.ask(unasked.take(max(1, int(self.warmup * budget))))
        tree = tree_of(context.pool, self.arms, rng=choice)
        recent, due = torch.empty(0, len(self.rewards)), 0
        while len(bought) < budget and context.time_left() > 0:
            if len(bought) >= due:
                clone = clones.fitted(bought, steps=self.steps_inner)
                due = len(bought) + int(self.refit * budget)
            before, known = unasked.numbers, bought.released[-self.window * batch :]
            chosen = self._drawn(tree, before, min(batch, budget - len(bought)), rng=choice)
            inputs = unasked.take(chosen)
            rewards = self._rewards(bought.ask(inputs), padded_forward(clone, inputs), known)
            recent = torch.cat([recent, rewards])[-self.window * batch :]
            gains = centred_ranks(recent).mean(dim=1)[-len(chosen) :]
            for level in tree:
                level.reward(chosen, gains, before, step=self.step)
        return clones.fitted(bought, steps=self.steps)

    def _drawn(self, tree: list[Level], unasked: Tensor, rows: int, *, rng: Generator) -> Tensor:
        """Return indices of pool rows, without replacement.

        A walk from the root that ends at a random row of a leaf reaches a row with the product of what each level
        makes of its share, so one weighted draw of rows is many walks.
        """
        weights = torch.ones(len(unasked))
        for level in tree:
            weights *= (self.floor + (1 - self.floor) * level.tilts(unasked))[level.groups[unasked]]
        return unasked[torch.multinomial(weights, rows, generator=rng)]

    def _rewards(self, released: Tensor, logits: Tensor, known: Tensor) -> Tensor:
        """Return (N, rewards) of released rows (N, K), by the clone's logits and the rows (M, K) released before."""
        values = {
            "certainty": certainty(released),
            "diversity": (released - known.mean(dim=0)).clamp(min=0).sum(dim=1),
            "loss": -(released * logits.log_softmax(dim=1)).sum(dim=1),
        }
        return torch.stack([values[name] for name in self.rewards], dim=1)


def certainty(rows: Tensor) -> Tensor:
    """Return by how much the largest entry of each row (N, K) leads, (N,)."""
    best = rows.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def centred_ranks(values: Tensor) -> Tensor:
    """Return for each column of (N, R) the ranks 1 .. N over N, less their mean (N + 1) / 2N; ties share one.

    A rank has no variance to divide by and no outlier, and a column of equal values is all zeros.
    """
    return torch.stack([_ranks(column) for column in values.unbind(dim=1)], dim=1) - (len(values) + 1) / 2 / len(values)


def _ranks(column: Tensor) -> Tensor:
    _, member, sizes = column.unique(return_inverse=True, return_counts=True)
    ranks: Tensor = (sizes.cumsum(dim=0) - (sizes - 1) / 2) / len(column)
    return ranks[member]


class Level:
    """One level of the tree: the group of each row of the pool, the node above each group, a bandit in each node.

    The policy of a node is q(group) = share exp(H) / (sum over siblings of the same), with its preferences H and the
    groups' shares of the rows that were not asked yet.
    """

    def __init__(self, groups: Tensor, nodes: Tensor) -> None:
        self.groups, self._nodes = groups, nodes
        self.preferences, self._updates = torch.zeros(len(nodes)), torch.zeros(len(nodes))

    def tilts(self, unasked: Tensor) -> Tensor:
        """Return for each group q / share: how much more readily than at random the policy takes it."""
        sizes = self._count(unasked)
        expected = self._over_siblings(sizes * self.preferences.exp()) / self._over_siblings(sizes)
        return torch.where(expected > 0, self.preferences.exp() / expected, 1.0)  # of nothing left: whatever

    def reward(self, drawn: Tensor, gains: Tensor, unasked: Tensor, *, step: float) -> None:
        """Learn from the ``gains`` (N,) over the mean reward that rows ``drawn`` (N,) from ``unasked`` had.

        For each group z that was drawn: H(z) += a (1 - q(z)), and H(z') -= a q(z') for its siblings, with a the mean
        gain in z times ``step`` / sqrt(1 + updates of z so far).
        """
        rows, sizes = self._count(drawn), self._count(unasked)
        shares = sizes / self._over_siblings(sizes).clamp(min=1)
        means = torch.zeros_like(rows).index_add(0, self.groups[drawn], gains) / rows.clamp(min=1)
        moves = step * means / (1 + self._updates).sqrt()
        self.preferences += moves - shares * self.tilts(unasked) * self._over_siblings(moves)
        self.preferences.clamp_(-STRONGEST, STRONGEST)
        self._updates += rows > 0

    def _count(self, rows: Tensor) -> Tensor:
        return self.groups[rows].bincount(minlength=len(self._nodes)).float()

    def _over_siblings(self, values: Tensor) -> Tensor:
        """Return for each group the sum of the values (groups,) of all that share its node."""
        return torch.zeros(len(self._nodes)).index_add(0, self._nodes, values)[self._nodes]


def tree_of(pool: Tensor, arms: tuple[int, int], *, rng: Generator) -> list[Level]:
    """Return two levels over the rows of a pool (M, *shape): up to ``arms[0]`` groups, up to ``arms[1]`` in each."""
    flat = pool.flatten(1)
    sample = torch.randperm(len(flat), generator=rng)[:CLUSTERED_ROWS]
    points = flat @ principal_components(flat[sample], COMPONENTS, rng=rng)
    coarse = nearest_centre(points, k_means(points[sample], arms[0], rng=rng))
    leaves, nodes = torch.zeros_like(coarse), torch.empty(0, dtype=torch.long)
    for node in range(int(coarse.max()) + 1):
        centres = k_means(points[sample[coarse[sample] == node]], arms[1], rng=rng)
        leaves[coarse == node] = len(nodes) + nearest_centre(points[coarse == node], centres)
        nodes = torch.cat([nodes, torch.full((len(centres),), node)])
    return [Level(coarse, torch.zeros(int(coarse.max()) + 1, dtype=torch.long)), Level(leaves, nodes)]
