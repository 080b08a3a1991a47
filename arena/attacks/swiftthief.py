"""Learn a representation from the unasked pool too, shape it by the answers, and spend late queries on rare classes.

Source: Lee, Han, Lee, "SwiftThief: Enhancing Query Efficiency of Model Stealing by Contrastive Learning", IJCAI 2024,
pp. 422-430, doi 10.24963/ijcai.2024/47; losses and sampling as in the authors' code (JEONGHYUN-LEE/MS-SwiftThief).
Departures: a row is asked once and its answer stored, where the code asks the victim again in every epoch and every
count of classes. Outputs are matched by the arena's recipe and not by SGD. Densities are of features of length 1.
Tables, which the paper has none of, are seen through random columns of other rows. Images of few pixels get no
hue and smaller crops, and are not turned round, as digits may not be. The defaults are a small profile.
Published number: none at equal terms (CIFAR-sized victims, an ImageNet pool). Reproduced: formula.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from arena.attacks.parts.augmentation import image_view, table_view
from arena.attacks.parts.clustering import distances
from arena.attacks.parts.rounds import Unasked
from arena.attacks.parts.transfer_set import TransferSet, shares
from arena.contracts import Attack, AttackContext, BadParameter, Need, Oracle, StopReason, Task
from arena.learning.architectures import build, drawn_from
from arena.learning.distillation import distil
from arena.learning.features import Features, penultimate
from arena.learning.randomness import child
from arena.learning.release import entropy
from arena.learning.training import batches, hardened, predict

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4

_ROWS_AT_ONCE = 4096  # of the pool: a multiple of the padded sizes, so that a row's bits do not depend on it


@dataclass(frozen=True, kw_only=True)
class SwiftThief(Attack):
    """Defaults suit 28x28 images on one core; the paper's value stands in brackets behind a field that differs.

    The budget is spent in ``rounds`` [10] equal shares. In each the clone first learns from ``epochs`` [40], in the
    last round from ``last_epochs`` [100], over ``unlabelled`` [5,000] unasked rows, ``more_unlabelled`` [5,000] more
    each round, in steps of ``batch`` [512] of them and ``batch_bought`` [256] bought rows, by SGD of rate ``lr``
    [0.06], which falls as a cosine that would end after ``horizon`` [800] epochs. ``projection`` [2,048] is the width
    of the projector; ``sharpness`` weighs the regulariser, whose step has the size ``radius``; ``beta`` is that of
    the class costs. Then outputs are matched for ``steps_inner`` [50 epochs] training steps, at the end for ``steps``
    (None: the referee's recipe).

    ``bandwidth`` is that of the densities, asked in ``sub_rounds`` parts of a share. Views of images are ``crop``
    [0.2] to all of the area, turned round at random if ``flip`` [True]; of the values of a table row, ``corruption``
    come from other rows.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})
    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"pool exhausted", "deadline"})

    rounds: int = 5
    epochs: int = 4
    last_epochs: int = 10
    unlabelled: int = 2_000
    more_unlabelled: int = 500
    batch: int = 128
    batch_bought: int = 64
    lr: float = 0.03
    horizon: int = 45
    projection: int = 128
    sharpness: float = 0.01
    radius: float = 0.01
    beta: float = 0.99
    bandwidth: float = 0.5
    sub_rounds: int = 5
    crop: float = 0.5
    flip: bool = False
    corruption: float = 0.3
    arch: str = "auto"
    steps_inner: int = 200
    steps: int | None = None

    def __post_init__(self) -> None:
        if min(self.rounds, self.epochs, self.last_epochs, self.horizon, self.sub_rounds, self.unlabelled) < 1:
            message = "rounds, epochs, last_epochs, horizon, sub_rounds and unlabelled are at least 1"
            raise BadParameter(message)
        if min(self.batch, self.batch_bought) < 2 or self.projection < 4:
            message = "batch and batch_bought are at least 2 and projection at least 4: a batch of one has no variance"
            raise BadParameter(message)
        if not 0 < self.crop <= 1 or not 0 <= self.corruption <= 1 or not 0 < self.beta < 1 or self.bandwidth <= 0:
            message = (
                f"crop = {self.crop} lies in (0, 1], corruption = {self.corruption} in [0, 1], beta = {self.beta} "
            )
            message += f"in (0, 1), and bandwidth = {self.bandwidth} is more than 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Buy, represent and match, round by round, until the budget or the pool is over."""
        clone = build(self.arch, oracle.task, rng=rng).to(context.device)
        siamese = Siamese(clone, oracle.task, projection=self.projection, rng=rng).to(context.device)
        training, choice = child(rng), child(rng)
        unasked, bought = Unasked(context.pool, rng=choice), TransferSet(oracle)
        budget = min(oracle.remaining, len(unasked))
        parts = [share for share in shares(budget, self.rounds) if share]
        for number, share in enumerate(parts):
            if context.time_left() <= 0:
                break
            self._buy(share, clone, context.pool, unasked, bought, left=budget - len(bought))
            last = number == len(parts) - 1
            free = context.pool[unasked.sample(self.unlabelled + number * self.more_unlabelled)]
            self._represent(siamese, free, bought, context, number, last=last, rng=training)
            steps = self.steps if last else self.steps_inner
            distil(clone, bought.inputs, bought.released, rng=training, steps=steps, time_left=context.time_left)
        return clone.eval()

    def _buy(
        self, share: int, clone: nn.Module, pool: Tensor, unasked: Unasked, bought: TransferSet, *, left: int
    ) -> None:
        """Ask random rows first, then those that the clone is least sure of, at last those like the rarest classes."""
        if len(bought) == 0:
            bought.ask(unasked.take(share))
            return
        free = unasked.numbers
        if not rare_first(class_counts(bought.released), left):
            scores = torch.cat([entropy(predict(clone, pool[rows])) for rows in free.split(_ROWS_AT_ONCE)])
            bought.ask(unasked.take(free[scores.argsort(descending=True, stable=True)[:share]]))
            return
        seen = torch.cat([normalize(penultimate(clone, pool[rows])) for rows in free.split(_ROWS_AT_ONCE)])
        known = normalize(penultimate(clone, bought.inputs))
        for part in filter(None, shares(share, self.sub_rounds)):
            labels = hardened(bought.released)
            densities = log_density(seen, known[labels[:, rarest(labels.sum(dim=0))] > 0], bandwidth=self.bandwidth)
            order = densities.argsort(descending=True, stable=True)
            bought.ask(unasked.take(free[order[:part]]))
            known = torch.cat([known, seen[order[:part]]])
            seen, free = seen[order[part:]], free[order[part:]]

    def _represent(
        self,
        siamese: Siamese,
        free: Tensor,
        bought: TransferSet,
        context: AttackContext,
        number: int,
        *,
        last: bool,
        rng: Generator,
    ) -> None:
        """Train the backbone on unasked rows (M, *shape) and on the bought ones that were answered."""
        paid, released = bought.answered()
        if min(len(free), len(paid)) < 2:
            return  # a batch of one has no variance to normalise by
        free, paid, released = (rows.to(context.device) for rows in (free, paid, released))
        costs = class_costs(class_counts(released), beta=self.beta)
        optimiser = torch.optim.SGD(siamese.parameters(), lr=self.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
        passes = max(1, len(free) // self.batch)
        steps = passes * (self.last_epochs if last else self.epochs)
        of_free = batches(len(free), batch=self.batch, steps=steps, rng=rng)
        of_paid = batches(len(paid), batch=self.batch_bought, steps=steps, rng=rng)
        for step, (unlabelled, labelled) in enumerate(zip(of_free, of_paid, strict=True)):
            if context.time_left() <= 0:
                break
            epoch = number * self.epochs + 1 + step // passes
            optimiser.param_groups[0]["lr"] = self.lr * 0.5 * (1 + math.cos(math.pi * min(1, epoch / self.horizon)))
            loss = self._loss(siamese, free[unlabelled], paid[labelled], released[labelled], costs, rng=rng)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        siamese.eval()

    def _loss(
        self, siamese: Siamese, free: Tensor, paid: Tensor, released: Tensor, costs: Tensor, *, rng: Generator
    ) -> Tensor:
        first, second = (self._view(paid, rng=rng) for _ in range(2))
        sharpest = sharpened(siamese, first, second, radius=self.radius)
        siamese.train()
        one, other = siamese(first), siamese(second)
        self_supervised = alignment(*(siamese(self._view(free, rng=rng)) for _ in range(2)))
        regulariser = alignment(siamese(sharpest), other, weights=costs[released.argmax(dim=1)])
        return self_supervised + soft_supervised(one, other, released) + self.sharpness * regulariser

    def _view(self, inputs: Tensor, *, rng: Generator) -> Tensor:
        if inputs.dim() == 4:
            return image_view(inputs, crop=self.crop, flip=self.flip, rng=rng)
        return table_view(inputs, corruption=self.corruption, rng=rng)


class Projected(NamedTuple):
    """What contrastive losses compare, each (N, projection): z = q(g(x)) and p = r(z)."""

    z: Tensor
    p: Tensor


class Siamese(nn.Module):
    """The clone up to its last layer (g), a projector (q) and a predictor (r), of SimSiam, arXiv 2011.10566."""

    def __init__(self, clone: nn.Module, task: Task, *, projection: int, rng: Generator) -> None:
        super().__init__()
        width = penultimate(clone.eval(), torch.zeros(1, *task.shape)).shape[1]
        self.features = Features(clone)
        with drawn_from(rng):
            self.projector = nn.Sequential(
                nn.Linear(width, projection),
                nn.BatchNorm1d(projection),
                nn.ReLU(),
                nn.Linear(projection, projection),
                nn.BatchNorm1d(projection, affine=False),
            )
            self.predictor = nn.Sequential(
                nn.Linear(projection, projection // 4),
                nn.BatchNorm1d(projection // 4),
                nn.ReLU(),
                nn.Linear(projection // 4, projection),
            )

    def forward(self, inputs: Tensor) -> Projected:
        z = self.projector(self.features(inputs))
        return Projected(z=z, p=self.predictor(z))


def alignment(one: Projected, other: Projected, *, weights: Tensor | None = None) -> Tensor:
    """Return the mean over rows of -w/2 [cos(p1, z2) + cos(p2, z1)], no gradient through z; weights (N,) or 1."""
    similarity = cosine_similarity(one.p, other.z.detach()) + cosine_similarity(other.p, one.z.detach())
    return -0.5 * (similarity if weights is None else weights * similarity).mean()


def soft_supervised(one: Projected, other: Projected, released: Tensor) -> Tensor:
    """Return the mean of -w_ij cos(p_i, z_j) over the pairs of both views where it is not 0, and 0 if there are none.

    ``released`` (N, K) are the answers to the N rows that both views show; w is `pair_weights` of them, i is not j.
    """
    p, z = normalize(torch.cat([one.p, other.p])), normalize(torch.cat([one.z, other.z]).detach())
    products = pair_weights(released).repeat(2, 2).fill_diagonal_(0) * (p @ z.T)
    return -products.sum() / (products != 0).sum().clamp(min=1)


def pair_weights(released: Tensor) -> Tensor:
    """Return (N, N): (1 - H_i)(1 - H_j) cos(y_i, y_j) of rows y (N, K), with entropies H as shares of ln K."""
    sure = (1 - entropy(released) / math.log(released.shape[1])).clamp(min=0)
    directions = normalize(released)
    return torch.outer(sure, sure) * (directions @ directions.T)


def sharpened(siamese: Siamese, one: Tensor, other: Tensor, *, radius: float) -> Tensor:
    """Return ``one`` moved by ``radius`` along the sign that most lowers its similarity to ``other``, in eval mode."""
    siamese.eval()
    with torch.no_grad():
        target = siamese(other).z
    rows = one.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cosine_similarity(siamese(rows).p, target).sum(), rows)
    return one - radius * gradient.sign()


def class_counts(released: Tensor) -> Tensor:
    """Return how many of the rows (N, K) have their argmax in each class, (K,) float32; refused rows in none."""
    return hardened(released).sum(dim=0)


def class_costs(counts: Tensor, *, beta: float) -> Tensor:
    """Return (1 - beta) / (1 - beta^(n + 1)) of class counts n (K,), scaled to sum 1: the rarer, the dearer."""
    costs = (1 - beta) / (1 - beta ** (counts + 1))
    return costs / costs.sum()


def rare_first(counts: Tensor, left: int) -> bool:
    """Return whether what is left of the budget no more than lifts every rare class (K,) to the mean count."""
    return left <= float((counts.mean() - counts).clamp(min=0).sum())


def rarest(counts: Tensor) -> int:
    """Return the class with the fewest rows that has any; ties to the lowest."""
    return int(torch.where(counts > 0, counts, torch.inf).argmin())


def log_density(points: Tensor, centres: Tensor, *, bandwidth: float) -> Tensor:
    """Return the log of a Gaussian kernel density of centres (M, F) at points (N, F), up to a constant, (N,)."""
    parts = [
        (-distances(chunk, centres).square() / (2 * bandwidth**2)).logsumexp(dim=1)
        for chunk in points.split(_ROWS_AT_ONCE)
    ]
    return torch.cat(parts)
