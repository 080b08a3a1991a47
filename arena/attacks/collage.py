"""Recombine pool images until they reach every class of the victim, and spread the queries evenly over the classes.

Source: our own. It combines known ideas: overlaid crops, and margin sampling (Scheffer, Decomain, Wrobel, "Active
Hidden Markov Models for Information Extraction", IDA 2001).
A pool that is far from the victim's data is narrow: the victim assigns most of its rows to one or two classes, and no
choice among them changes that. Enlarged, rotated, shifted and overlaid, the same rows have other textures, sizes and
outlines. If the plain rows already reach every class, the pool is near the victim's data and collages would only be
farther away. Therefore the first queries are of both kinds, and the rest are of the kind whose answers were more
diverse. Each round chooses among many candidates: from each class that the clone predicts, it takes as many as the
class still lacks, the least certain first.
Published number: none. Reproduced: not applicable; our figures show what it achieves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from arena.attacks.parts.rounds import FreshClones, Unqueried
from arena.attacks.parts.transfer_set import TransferSet, shares
from arena.contracts import Attack, AttackContext, BadParameter, Need, Oracle, StopReason
from arena.learning.randomness import child
from arena.learning.release import entropy
from arena.learning.tensors import row_digests
from arena.learning.training import hardened, predict

TRIES = 3
"""Attempts at collages that are all distinct; a pool of uniform images yields too few, and noise fills the gap."""


@dataclass(frozen=True, kw_only=True)
class Collage(Attack):
    """A collage is the pixelwise maximum of ``layers`` images, each a rotated window into a row of the pool.

    The side of a window is a share of the image's side drawn from ``zoom``, and its centre is off the middle by up to a
    share ``shift`` of half the side. The brightness is then scaled by a factor between ``dim`` and 1. A table row takes
    each column from one of ``layers`` rows. Half of the first ``seed_share`` of the budget is spent on plain rows; then
    ``rounds`` equal shares are chosen among ``candidates`` each. The clone of a round is trained for ``steps_inner``
    steps, the last one for ``steps`` (None: the referee's recipe).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})
    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"deadline"})

    layers: int = 2
    zoom: tuple[float, float] = (0.25, 1.0)
    shift: float = 0.5
    dim: float = 0.2
    seed_share: float = 0.2
    rounds: int = 4
    candidates: int = 4_000
    arch: str = "auto"
    steps_inner: int = 400
    steps: int | None = None

    def __post_init__(self) -> None:
        low, high = self.zoom
        if min(self.layers, self.rounds, self.candidates) < 1 or not 0 < low <= high:
            message = f"layers, rounds and candidates must be at least 1; zoom = {self.zoom} must be two numbers "
            message += "above 0 in ascending order"
            raise BadParameter(message)
        if not 0 < self.seed_share <= 1 or not 0 <= self.dim <= 1 or self.shift < 0:
            message = f"seed_share = {self.seed_share} must lie in (0, 1] and dim = {self.dim} in [0, 1]; "
            message += f"shift = {self.shift} must be at least 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Query rows of both kinds, then more of the kind with the more diverse answers, round by round."""
        clones, choice = FreshClones(self.arch, oracle.task, context, rng=rng), child(rng)
        unqueried, transfer_set = Unqueried(context.pool, rng=choice), TransferSet(oracle)
        budget = oracle.remaining
        seed = min(budget, max(1, int(self.seed_share * budget)))
        plain = transfer_set.extend(unqueried.take(seed // 2))
        recombined = transfer_set.extend(self._collages(context.pool, seed - len(plain), transfer_set, rng=choice))
        use_plain = diversity(plain) >= diversity(recombined)
        for share in filter(None, shares(budget - seed, self.rounds)):
            if context.time_left() <= 0:
                break
            rows = max(share, self.candidates)
            indices = unqueried.sample(rows) if use_plain else unqueried.indices[:0]
            collages = self._collages(context.pool, rows if len(indices) < share else 0, transfer_set, rng=choice)
            candidates = torch.cat([context.pool[indices], collages])
            clone = clones.fitted(transfer_set, steps=self.steps_inner)
            best = evenly_uncertain(predict(clone, candidates), hardened(transfer_set.released).sum(dim=0), share)
            transfer_set.extend(candidates[best])
            unqueried.take(indices[best[best < len(indices)]])
        return clones.fitted(transfer_set, steps=self.steps)

    def _collages(self, pool: Tensor, rows: int, transfer_set: TransferSet, *, rng: Generator) -> Tensor:
        """Return ``rows`` distinct collages, none of which has been queried before."""
        collages, digests = [pool[:0]], set(row_digests(transfer_set.inputs))
        for attempt in range(TRIES + 1):
            missing = rows - sum(map(len, collages))
            if missing == 0:
                break
            last = attempt == TRIES
            candidates = (
                torch.rand(missing, *pool.shape[1:], generator=rng) if last else self._made(pool, missing, rng=rng)
            )
            distinct = []
            for row, digest in enumerate(row_digests(candidates)):
                if digest not in digests:
                    digests.add(digest)
                    distinct.append(row)
            collages.append(candidates[distinct])
        return torch.cat(collages)

    def _made(self, pool: Tensor, rows: int, *, rng: Generator) -> Tensor:
        layers = torch.stack([pool[torch.randint(len(pool), (rows,), generator=rng)] for _ in range(self.layers)])
        if pool.dim() != 4:
            picked = torch.randint(self.layers, (1, *layers.shape[1:]), generator=rng)
            return layers.gather(0, picked).squeeze(0)
        overlaid = windows(layers.flatten(0, 1), zoom=self.zoom, shift=self.shift, rng=rng).reshape(layers.shape)
        brightness = self.dim + (1 - self.dim) * torch.rand(rows, 1, 1, 1, generator=rng)
        return (overlaid.amax(dim=0) * brightness).clamp(0, 1)


def windows(images: Tensor, *, zoom: tuple[float, float], shift: float, rng: Generator) -> Tensor:
    """Return a random square window into each image (N, C, H, W), scaled to the full size and black beyond the edges.

    The side of a window is a share of the image's side drawn from ``zoom``, its angle is arbitrary, and its centre is
    off the middle by up to ``shift`` half sides.
    """
    rows = len(images)
    sides = zoom[0] + (zoom[1] - zoom[0]) * torch.rand(rows, generator=rng)
    angles = 2 * math.pi * torch.rand(rows, generator=rng)
    along, across = sides * angles.cos(), sides * angles.sin()
    centres = shift * (2 * torch.rand(rows, 2, 1, generator=rng) - 1)
    turned = torch.stack([along, -across, across, along], dim=1).reshape(rows, 2, 2)
    grid = affine_grid(torch.cat([turned, centres], dim=2), list(images.shape), align_corners=False)
    return grid_sample(images, grid, align_corners=False)


def diversity(released: Tensor) -> float:
    """Return the entropy, in nats, of the mean of the rows (N, K) that were answered; 0 if none was."""
    answered = released[released.sum(dim=1) > 0]
    return float(entropy(answered.mean(dim=0, keepdim=True))) if len(answered) else 0.0


def evenly_uncertain(posteriors: Tensor, counts: Tensor, chosen: int) -> Tensor:
    """Choose ``chosen`` of the posteriors (N, K), the least certain first, and return their indices.

    Each class gets a quota in proportion to what it lacks: (sum of counts + chosen) / K rows less those that it has,
    ``counts`` (K,). If a class has too few candidates, the least certain of all other rows take their places.
    """
    lacking = ((counts.sum() + chosen) / len(counts) - counts).clamp(min=0)
    quota = (chosen * lacking / lacking.sum().clamp(min=1)).long()
    best = posteriors.topk(2, dim=1).values
    order = (best[:, 0] - best[:, 1]).argsort(stable=True)
    guesses = posteriors.argmax(dim=1)[order]
    place = torch.zeros(len(order), dtype=torch.long)
    for label in range(len(counts)):
        members = guesses == label
        place[members] = torch.arange(int(members.sum()))
    beyond_quota = (place >= quota[guesses]).long()  # rows beyond their class's quota come after all others
    return order[beyond_quota.argsort(stable=True)][:chosen]
