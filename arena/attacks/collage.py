"""Recombine the pool until it shows the victim something of every class, and ask evenly over the classes.

Source: our own. Its parts are old: crops laid over one another, and margin sampling (Scheffer, Decomain, Wrobel,
"Active Hidden Markov Models for Information Extraction", IDA 2001).
A far pool is narrow: most of its rows fall into one or two of the victim's classes, and no choice among them changes
that. Enlarged, turned, shifted and laid over one another, the same rows have other textures, sizes and outlines. Where
the plain rows already show the victim every class the pool is near, and collages would only be farther away: so the
first rows are of both kinds, and the rest are of the kind whose answers were the more diverse. Among many candidates
each round asks as many of each class, by the clone's guess, as the class still lacks, the least certain ones first.
Published number: none. Reproduced: not applicable; the figures say what it is worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from arena.attacks.parts.rounds import FreshClones, Unasked
from arena.attacks.parts.transfer_set import TransferSet, shares
from arena.contracts import Attack, AttackContext, BadParameter, Need, Oracle, StopReason
from arena.learning.randomness import child
from arena.learning.release import entropy
from arena.learning.tensors import row_digests
from arena.learning.training import hardened, predict

TRIES = 3
"""A pool of flat pictures gives the same collage again and again; noise then takes its place."""


@dataclass(frozen=True, kw_only=True)
class Collage(Attack):
    """A collage is the brightest of ``layers`` rows, each a window of a share of its side in ``zoom``, turned.

    A window lies up to ``shift`` of half a side off the middle; ``dim`` is the least brightness that is left. A table
    row takes each column from one of ``layers`` rows. Of the first ``seed_share`` of the budget half is plain; then
    ``rounds`` equal shares are chosen among ``candidates``. ``steps_inner`` train a round's clone, ``steps`` the last
    one (None: the referee's recipe).
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
            message = f"layers, rounds and candidates are at least 1, and zoom = {self.zoom} goes up from more than 0"
            raise BadParameter(message)
        if not 0 < self.seed_share <= 1 or not 0 <= self.dim <= 1 or self.shift < 0:
            message = f"seed_share = {self.seed_share} lies in (0, 1], dim = {self.dim} in [0, 1], shift is 0 or more"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Ask some of both kinds, then more of the kind that shows more, round by round."""
        clones, choice = FreshClones(self.arch, oracle.task, context, rng=rng), child(rng)
        unasked, bought = Unasked(context.pool, rng=choice), TransferSet(oracle)
        budget = oracle.remaining
        seed = min(budget, max(1, int(self.seed_share * budget)))
        plain = bought.ask(unasked.take(seed // 2))
        mixed = bought.ask(self._collages(context.pool, seed - len(plain), bought, rng=choice))
        near = diversity(plain) >= diversity(mixed)
        for share in filter(None, shares(budget - seed, self.rounds)):
            if context.time_left() <= 0:
                break
            rows = max(share, self.candidates)
            numbers = unasked.sample(rows) if near else unasked.numbers[:0]
            collages = self._collages(context.pool, rows if len(numbers) < share else 0, bought, rng=choice)
            candidates = torch.cat([context.pool[numbers], collages])
            clone = clones.fitted(bought, steps=self.steps_inner)
            best = evenly_uncertain(predict(clone, candidates), hardened(bought.released).sum(dim=0), share)
            bought.ask(candidates[best])
            unasked.take(numbers[best[best < len(numbers)]])
        return clones.fitted(bought, steps=self.steps)

    def _collages(self, pool: Tensor, rows: int, bought: TransferSet, *, rng: Generator) -> Tensor:
        """Return ``rows`` collages, none of which was asked before and no two alike."""
        found, known = [pool[:0]], set(row_digests(bought.inputs))
        for number in range(TRIES + 1):
            missing = rows - sum(map(len, found))
            if missing == 0:
                break
            spare = number == TRIES
            made = torch.rand(missing, *pool.shape[1:], generator=rng) if spare else self._made(pool, missing, rng=rng)
            fresh = []
            for row, digest in enumerate(row_digests(made)):
                if digest not in known:
                    known.add(digest)
                    fresh.append(row)
            found.append(made[fresh])
        return torch.cat(found)

    def _made(self, pool: Tensor, rows: int, *, rng: Generator) -> Tensor:
        layers = torch.stack([pool[torch.randint(len(pool), (rows,), generator=rng)] for _ in range(self.layers)])
        if pool.dim() != 4:
            picked = torch.randint(self.layers, (1, *layers.shape[1:]), generator=rng)
            return layers.gather(0, picked).squeeze(0)
        seen = windows(layers.flatten(0, 1), zoom=self.zoom, shift=self.shift, rng=rng).reshape(layers.shape)
        brightness = self.dim + (1 - self.dim) * torch.rand(rows, 1, 1, 1, generator=rng)
        return (seen.amax(dim=0) * brightness).clamp(0, 1)


def windows(images: Tensor, *, zoom: tuple[float, float], shift: float, rng: Generator) -> Tensor:
    """Return what a random square window shows of each image (N, C, H, W), at its size; black beyond the edges.

    A window has a share in ``zoom`` of the side, any angle, and a centre up to ``shift`` half sides off the middle.
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
    """Return the entropy in nats of the mean of the rows (N, K) that were answered, 0 if none was."""
    answered = released[released.sum(dim=1) > 0]
    return float(entropy(answered.mean(dim=0, keepdim=True))) if len(answered) else 0.0


def evenly_uncertain(posteriors: Tensor, counts: Tensor, chosen: int) -> Tensor:
    """Return indices of ``chosen`` rows of (N, K): of each class its part of what it lacks, least certain first.

    ``counts`` (K,) are the rows that each class has. With an even total of (sum of counts + chosen) / K a class lacks
    what is missing to it; where it has too few candidates, the least certain of all others take their place.
    """
    lacking = ((counts.sum() + chosen) / len(counts) - counts).clamp(min=0)
    quota = (chosen * lacking / lacking.sum().clamp(min=1)).long()
    best = posteriors.topk(2, dim=1).values
    order = (best[:, 0] - best[:, 1]).argsort(stable=True)
    guesses = posteriors.argmax(dim=1)[order]
    within = torch.zeros(len(order), dtype=torch.long)
    for label in range(len(counts)):
        members = guesses == label
        within[members] = torch.arange(int(members.sum()))
    late = (within >= quota[guesses]).long()  # those beyond their class's part come after all others
    return order[late.argsort(stable=True)][:chosen]
