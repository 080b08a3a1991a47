"""Train only on answers that look honest: if confidence scores fall into two groups, the lower group is distrusted.

Source: the arena's own attacker of defenses that answer unlike queries with misinformation, such as Kariyappa,
Qureshi, "Defending Against Model Stealing Attacks with Adaptive Misinformation", CVPR 2020, arXiv 1911.07100.
Departures: Two groups are recognised by an Ashman's D above 3.5 instead of the usual bound of 2, because a uniform
distribution of confidence, split in the middle, has 3.46. Misinformation that is as confident as the truth goes
undetected.
Published number: none. Reproduced: formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.oracle_views import AttackWrapper
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import Answer, AttackContext, BadParameter, Need, Oracle, StopReason
from arena.learning.architectures import untrained_like
from arena.learning.distillation import distil
from arena.learning.oracle_view import OracleView
from arena.learning.randomness import child
from arena.learning.tensors import row_digests
from arena.learning.training import predict

MIXTURE_STEPS = 100
LEAST_DEVIATION = 1e-3  # the smallest standard deviation of a component, so that equal numbers have a density


@dataclass(frozen=True, kw_only=True)
class ConfidenceFilter(AttackWrapper):
    """``base`` spends all but a share ``second`` of the budget; answers that look dishonest reach it as refusals.

    The rest is spent on the pool rows of which the base's clone is most certain, because the clone has learnt where the
    victim answers honestly. Then a new clone is trained for ``steps`` steps (None: the referee's recipe) on all honest
    rows. Two groups of answers are distinguished once there are ``least`` rows, if Ashman's D is above
    ``separation``.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})
    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"pool exhausted", "deadline"})

    second: float = 0.5
    separation: float = 3.5
    least: int = 200
    steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.second < 1 or self.least < 2 or self.separation <= 0:
            message = f"second = {self.second} must lie in [0, 1), least = {self.least} must be at least 2, "
            message += f"and separation = {self.separation} more than 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Play ``base`` on honest-looking answers, query the rows that its clone is sure of, and train a new clone on both."""
        draws = child(rng)
        transfer_set = TransferSet(oracle)
        reserved = min(int(self.second * oracle.remaining), oracle.remaining - self.base.min_budget(oracle.task))
        filtered = _FilteredOracle(
            oracle=transfer_set, reserved=reserved, honest=lambda: self._honest(transfer_set.released)
        )
        clone = self.base.extract(filtered, context, rng=rng)
        if context.time_left() > 0:
            transfer_set.extend(
                most_certain(clone, unqueried(context.pool, transfer_set.inputs), rows=oracle.remaining, rng=draws)
            )
        honest = self._honest(transfer_set.released)
        inputs, released = transfer_set.inputs[honest], transfer_set.released[honest]
        clone = untrained_like(clone, oracle.task, rng=draws)
        return distil(clone, inputs, released, rng=draws, steps=self.steps, time_left=context.time_left)

    def _honest(self, released: Tensor) -> Tensor:
        """Return which rows (N, K) were answered and look honest, as (N,) bool."""
        answered = released.sum(dim=1) > 0
        honest = answered.clone()
        if int(answered.sum()) >= self.least:
            honest[answered] = ~lower_component(released[answered].amax(dim=1), separation=self.separation)
        return honest


@dataclass(kw_only=True, eq=False)
class _FilteredOracle(OracleView):
    """Reserves ``reserved`` rows of the budget, and marks answers as refused if they are not ``honest``.

    ``honest`` judges all rows of the transfer set so far, (M,) bool.
    """

    reserved: int
    honest: Callable[[], Tensor]

    @property
    def remaining(self) -> int:
        return self.oracle.remaining - self.reserved

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        self.price(inputs, explain=explain)
        answer = super().query(inputs, explain=explain, account=account)
        honest = self.honest()[-len(inputs) :]
        return replace(answer, posteriors=answer.posteriors * honest.unsqueeze(1), refused=~honest)


def lower_component(values: Tensor, *, separation: float) -> Tensor:
    """Return which of the values (N,) belong to the lower of two separated normal components, as (N,) bool.

    None do unless the fitted mixture's Ashman's D = sqrt(2) |m1 - m2| / sqrt(s1^2 + s2^2) is above ``separation``.
    """
    v = values.double()
    upper = (v > (v.min() + v.max()) / 2).double()
    for _ in range(MIXTURE_STEPS):
        weight = torch.stack([1 - upper, upper])
        total = weight.sum(dim=1, keepdim=True).clamp(min=torch.finfo(v.dtype).tiny)
        mean = (weight * v).sum(dim=1, keepdim=True) / total
        deviation = ((weight * (v - mean).square()).sum(dim=1, keepdim=True) / total).sqrt().clamp(min=LEAST_DEVIATION)
        density = (total / deviation).log() - ((v - mean) / deviation).square() / 2
        upper = density.softmax(dim=0)[1]
    distance = math.sqrt(2) * float((mean[1] - mean[0]).abs() / deviation.square().sum().sqrt())
    lower = upper < 0.5 if mean[0] < mean[1] else upper > 0.5
    return lower & (distance > separation)


def unqueried(pool: Tensor, queried: Tensor) -> Tensor:
    """Return the rows of the pool (M, *shape) that have not been queried, in order."""
    digests = set(row_digests(queried))
    return pool[torch.tensor([digest not in digests for digest in row_digests(pool)], dtype=torch.bool)]


def most_certain(clone: nn.Module, candidates: Tensor, *, rows: int, rng: Generator) -> Tensor:
    """Return the ``rows`` candidates of which the clone is most certain, ties at random; all if there are fewer."""
    shuffled = candidates[torch.randperm(len(candidates), generator=rng)]
    if rows >= len(shuffled):
        return shuffled
    confidence = predict(clone, shuffled).amax(dim=1)
    return shuffled[confidence.argsort(descending=True, stable=True)[:rows]]
