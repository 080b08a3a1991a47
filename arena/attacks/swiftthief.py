"""Learn a representation from unqueried rows too, shape it by the answers, and spend late queries on rare classes.

Source: Lee, Han, Lee, "SwiftThief: Enhancing Query Efficiency of Model Stealing by Contrastive Learning", IJCAI 2024,
pp. 422-430, doi 10.24963/ijcai.2024/47; losses and sampling as in the authors' code (JEONGHYUN-LEE/MS-SwiftThief).
Departures: Each row is queried once and its answer stored; the authors' code queries the victim again in every epoch
and whenever it counts classes. Outputs are matched by the arena's recipe instead of SGD. Densities are computed on
features normalised to length 1. Table rows, which the paper does not cover, are augmented with columns of other rows.
Small images are cropped less and keep their hue; images are not mirrored, because digits must not be. The defaults are
a small profile.
Published number: none on equal terms (CIFAR-sized victims, an ImageNet pool). Reproduced: formula.
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
from arena.attacks.parts.rounds import Unqueried
from arena.attacks.parts.transfer_set import TransferSet, shares
from arena.contracts import Attack, AttackContext, BadParameter, Need, Oracle, StopReason, Task
from arena.learning.architectures import build, drawn_from
from arena.learning.distillation import distil, recipe_steps
from arena.learning.features import Features, penultimate
from arena.learning.randomness import child
from arena.learning.release import entropy
from arena.learning.training import batches, hardened, predict

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4

_ROWS_AT_ONCE = 4096  # of the pool: a multiple of the padded sizes, so that no row's bits depend on this number


@dataclass(frozen=True, kw_only=True)
class SwiftThief(Attack):
    """Spends the budget in ``rounds`` equal shares, and trains the clone in two stages after each.

    The first stage learns a representation for ``epochs``, or ``last_epochs`` in the last round, from unqueried rows:
    ``unlabelled`` of them in the first round and ``more_unlabelled`` more in each later one. A step uses ``batch`` of
    these and ``batch_bought`` labelled queries. SGD's rate ``lr`` falls along a cosine that would reach 0 after
    ``horizon`` epochs. ``projection`` is the width of the projector, ``sharpness`` the weight of the regulariser,
    ``radius`` the size of its step, and ``beta`` the parameter of the class costs. The second stage matches the outputs
    for ``steps_inner`` steps, and at the end until there are ``steps`` in all (None: the referee's recipe).

    Once rows of rare classes are wanted, each share is spent in ``sub_rounds`` parts, by densities of ``bandwidth``. A
    view of an image is a crop of a share of its area from ``crop`` to 1, mirrored at random if ``flip``. In a view of a
    table row, a share ``corruption`` of the values comes from other rows.

    The defaults suit 28x28 images on one core. These differ from the paper's values:
    - rounds: 5 here, 10 in the paper
    - epochs: 4 here, 40 in the paper
    - last_epochs: 10 here, 100 in the paper
    - unlabelled: 2,000 here, 5,000 in the paper
    - more_unlabelled: 500 here, 5,000 in the paper
    - batch: 128 here, 512 in the paper
    - batch_bought: 64 here, 256 in the paper
    - lr: 0.03 here, 0.06 in the paper
    - horizon: 45 epochs here, 800 in the paper
    - projection: 128 here, 2,048 in the paper
    - steps_inner: 200 steps here, 50 epochs in the paper
    - crop: 0.5 here, 0.2 in the paper
    - flip: False here, True in the paper
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
            message = "rounds, epochs, last_epochs, horizon, sub_rounds and unlabelled must be at least 1"
            raise BadParameter(message)
        if min(self.batch, self.batch_bought) < 2 or self.projection < 4:
            message = "batch and batch_bought must be at least 2, projection at least 4: a batch of one has no variance"
            raise BadParameter(message)
        if not 0 < self.crop <= 1 or not 0 <= self.corruption <= 1 or not 0 < self.beta < 1 or self.bandwidth <= 0:
            message = (
                f"crop = {self.crop} must lie in (0, 1], corruption = {self.corruption} in [0, 1], beta = {self.beta} "
            )
            message += f"in (0, 1), and bandwidth = {self.bandwidth} must be more than 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Query, represent and match, round by round, until the budget or the pool is exhausted."""
        clone = build(self.arch, oracle.task, rng=rng).to(context.device)
        siamese = Siamese(clone, oracle.task, projection=self.projection, rng=rng).to(context.device)
        training, choice = child(rng), child(rng)
        unqueried, transfer_set = Unqueried(context.pool, rng=choice), TransferSet(oracle)
        budget = min(oracle.remaining, len(unqueried))
        parts = [share for share in shares(budget, self.rounds) if share]
        for number, share in enumerate(parts):
            if context.time_left() <= 0:
                break
            self._query(share, clone, context.pool, unqueried, transfer_set, left=budget - len(transfer_set))
            last = number == len(parts) - 1
            fresh = context.pool[unqueried.sample(self.unlabelled + number * self.more_unlabelled)]
            self._represent(siamese, fresh, transfer_set, context, number, last=last, rng=training)
            steps = self._last_steps(transfer_set, rounds_before=number) if last else self.steps_inner
            inputs, released = transfer_set.inputs, transfer_set.released
            distil(clone, inputs, released, rng=training, steps=steps, time_left=context.time_left)
        return clone.eval()

    def _last_steps(self, transfer_set: TransferSet, *, rounds_before: int) -> int:
        """Return the steps of the last second stage: those of the rounds before it count, because the clone keeps them."""
        return max(1, (self.steps or recipe_steps(len(transfer_set))) - rounds_before * self.steps_inner)

    def _query(
        self, share: int, clone: nn.Module, pool: Tensor, unqueried: Unqueried, transfer_set: TransferSet, *, left: int
    ) -> None:
        """Query random rows first, then those of which the clone is least certain, finally those like rare classes."""
        if len(transfer_set) == 0:
            transfer_set.extend(unqueried.take(share))
            return
        candidates = unqueried.indices
        if not rare_first(class_counts(transfer_set.released), left):
            scores = torch.cat([entropy(predict(clone, pool[rows])) for rows in candidates.split(_ROWS_AT_ONCE)])
            transfer_set.extend(unqueried.take(candidates[scores.argsort(descending=True, stable=True)[:share]]))
            return
        features = torch.cat([normalize(penultimate(clone, pool[rows])) for rows in candidates.split(_ROWS_AT_ONCE)])
        known = normalize(penultimate(clone, transfer_set.inputs))
        for part in filter(None, shares(share, self.sub_rounds)):
            labels = hardened(transfer_set.released)
            densities = log_density(features, known[labels[:, rarest(labels.sum(dim=0))] > 0], bandwidth=self.bandwidth)
            order = densities.argsort(descending=True, stable=True)
            transfer_set.extend(unqueried.take(candidates[order[:part]]))
            known = torch.cat([known, features[order[:part]]])
            features, candidates = features[order[part:]], candidates[order[part:]]

    def _represent(
        self,
        siamese: Siamese,
        fresh: Tensor,
        transfer_set: TransferSet,
        context: AttackContext,
        number: int,
        *,
        last: bool,
        rng: Generator,
    ) -> None:
        """Train the backbone on unqueried rows (M, *shape) and on the answered rows of the transfer set."""
        queried, released = transfer_set.answered()
        if min(len(fresh), len(queried)) < 2:
            return  # a batch of one has no variance to normalise by
        fresh, queried, released = (rows.to(context.device) for rows in (fresh, queried, released))
        costs = class_costs(class_counts(released), beta=self.beta)
        optimiser = torch.optim.SGD(siamese.parameters(), lr=self.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
        passes = max(1, len(fresh) // self.batch)
        steps = passes * (self.last_epochs if last else self.epochs)
        unlabelled_batches = batches(len(fresh), batch=self.batch, steps=steps, rng=rng)
        labelled_batches = batches(len(queried), batch=self.batch_bought, steps=steps, rng=rng)
        for step, (unlabelled, labelled) in enumerate(zip(unlabelled_batches, labelled_batches, strict=True)):
            if context.time_left() <= 0:
                break
            epoch = number * self.epochs + 1 + step // passes
            optimiser.param_groups[0]["lr"] = self.lr * 0.5 * (1 + math.cos(math.pi * min(1, epoch / self.horizon)))
            loss = self._loss(siamese, fresh[unlabelled], queried[labelled], released[labelled], costs, rng=rng)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        siamese.eval()

    def _loss(
        self,
        siamese: Siamese,
        fresh: Tensor,
        queried: Tensor,
        released: Tensor,
        costs: Tensor,
        *,
        rng: Generator,
    ) -> Tensor:
        first, second = (self._view(queried, rng=rng) for _ in range(2))
        adversarial = sharpened(siamese, first, second, radius=self.radius)
        siamese.train()
        one, other = siamese(first), siamese(second)
        self_supervised = alignment(*(siamese(self._view(fresh, rng=rng)) for _ in range(2)))
        regulariser = alignment(siamese(adversarial), other, weights=costs[released.argmax(dim=1)])
        return self_supervised + soft_supervised(one, other, released) + self.sharpness * regulariser

    def _view(self, inputs: Tensor, *, rng: Generator) -> Tensor:
        if inputs.dim() == 4:
            return image_view(inputs, crop=self.crop, flip=self.flip, rng=rng)
        return table_view(inputs, corruption=self.corruption, rng=rng)


class Projected(NamedTuple):
    """What the contrastive losses compare: z = q(g(x)) and p = r(z), each (N, projection)."""

    z: Tensor
    p: Tensor


class Siamese(nn.Module):
    """The clone up to its last layer (g), with the projector (q) and predictor (r) of SimSiam, arXiv 2011.10566."""

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
    """Return the mean over rows of -w/2 [cos(p1, z2) + cos(p2, z1)], with weights w (N,) or 1; z has no gradient."""
    similarity = cosine_similarity(one.p, other.z.detach()) + cosine_similarity(other.p, one.z.detach())
    return -0.5 * (similarity if weights is None else weights * similarity).mean()


def soft_supervised(one: Projected, other: Projected, released: Tensor) -> Tensor:
    """Return the mean of the nonzero -w_ij cos(p_i, z_j), i != j, over the rows of both views; 0 if there are none.

    ``released`` (N, K) are the answers to the N rows behind both views, and w is their `pair_weights`.
    """
    p, z = normalize(torch.cat([one.p, other.p])), normalize(torch.cat([one.z, other.z]).detach())
    products = pair_weights(released).repeat(2, 2).fill_diagonal_(0) * (p @ z.T)
    return -products.sum() / (products != 0).sum().clamp(min=1)


def pair_weights(released: Tensor) -> Tensor:
    """Return (1 - H_i)(1 - H_j) cos(y_i, y_j) as (N, N) for rows y (N, K), with entropies H in units of ln K."""
    certainty = (1 - entropy(released) / math.log(released.shape[1])).clamp(min=0)
    directions = normalize(released)
    return torch.outer(certainty, certainty) * (directions @ directions.T)


def sharpened(siamese: Siamese, one: Tensor, other: Tensor, *, radius: float) -> Tensor:
    """Return ``one`` moved by ``radius`` along the signs that most reduce its similarity to ``other``, in eval mode."""
    siamese.eval()
    with torch.no_grad():
        target = siamese(other).z
    rows = one.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cosine_similarity(siamese(rows).p, target).sum(), rows)
    return one - radius * gradient.sign()


def class_counts(released: Tensor) -> Tensor:
    """Return the number of rows (N, K) with their argmax in each class, as (K,) float32, without refused rows."""
    return hardened(released).sum(dim=0)


def class_costs(counts: Tensor, *, beta: float) -> Tensor:
    """Return (1 - beta) / (1 - beta^(n + 1)) for class counts n (K,), scaled to sum 1: rare classes cost more."""
    costs = (1 - beta) / (1 - beta ** (counts + 1))
    return costs / costs.sum()


def rare_first(counts: Tensor, left: int) -> bool:
    """Return whether the rest of the budget is at most what it takes to raise all rare classes to the mean count."""
    return left <= float((counts.mean() - counts).clamp(min=0).sum())


def rarest(counts: Tensor) -> int:
    """Return the class with the fewest rows among those that have any; ties go to the lowest index."""
    return int(torch.where(counts > 0, counts, torch.inf).argmin())


def log_density(points: Tensor, centres: Tensor, *, bandwidth: float) -> Tensor:
    """Return the log of the Gaussian kernel density of centres (M, F) at points (N, F), as (N,), up to a constant."""
    parts = [
        (-distances(chunk, centres).square() / (2 * bandwidth**2)).logsumexp(dim=1)
        for chunk in points.split(_ROWS_AT_ONCE)
    ]
    return torch.cat(parts)
