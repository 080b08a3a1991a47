"""Train on the answers that look honest: where two kinds of confidence are released, the less confident kind is lies.

Source: the arena's own attacker of defenses that answer unlike queries with misinformation, such as Kariyappa,
Qureshi, "Defending Against Model Stealing Attacks with Adaptive Misinformation", CVPR 2020, arXiv 1911.07100.
Departures: two kinds are told by Ashman's D over 3.5, where its usual bound is 2: that of flat confidence cut in the
middle is 3.46. Misinformation that is as confident as the truth is not noticed.
Published number: none. Reproduced: formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.oracle_views import AttackWrapper, OracleView
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import Answer, AttackContext, BadParameter, Need, Oracle, StopReason
from arena.learning.distillation import distil
from arena.learning.randomness import child
from arena.learning.tensors import row_digests
from arena.learning.training import predict

MIXTURE_STEPS = 100
LEAST_DEVIATION = 1e-3  # of a component, so that equal numbers have a density


@dataclass(frozen=True, kw_only=True)
class ConfidenceFilter(AttackWrapper):
    """``base`` spends all but ``second`` of the budget; answers that look dishonest reach it as refused.

    The rest is spent on the unasked rows of the pool of which the base's clone is surest, as it learnt where the
    victim is honest; then the clone is trained on by ``steps`` (None: the referee's recipe) with all honest rows.
    Two kinds of answers are told apart from ``least`` rows on, if Ashman's D is more than ``separation``.
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
            message = f"second = {self.second} lies in [0, 1), least = {self.least} is at least 2, "
            message += f"and separation = {self.separation} is more than 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Let ``base`` play on what looks honest, ask what its clone is sure of, and train on with both."""
        own = child(rng)
        bought = TransferSet(oracle)
        kept_back = min(int(self.second * oracle.remaining), oracle.remaining - self.base.min_budget(oracle.task))
        filtered = _FilteredOracle(oracle=bought, kept_back=kept_back, honest=lambda: self._honest(bought.released))
        clone = self.base.extract(filtered, context, rng=rng)
        if context.time_left() > 0:
            bought.ask(surest(clone, unasked(context.pool, bought.inputs), rows=oracle.remaining, rng=own))
        honest = self._honest(bought.released)
        inputs, released = bought.inputs[honest], bought.released[honest]
        return distil(clone, inputs, released, rng=own, steps=self.steps, time_left=context.time_left)

    def _honest(self, released: Tensor) -> Tensor:
        """Return which rows (N, K) were answered and look honest, (N,) bool."""
        answered = released.sum(dim=1) > 0
        kept = answered.clone()
        if int(answered.sum()) >= self.least:
            kept[answered] = ~lower_kind(released[answered].amax(dim=1), separation=self.separation)
        return kept


@dataclass(kw_only=True, eq=False)
class _FilteredOracle(OracleView):
    """Keeps ``kept_back`` rows of the budget, and refuses what is not ``honest`` among all rows that were bought."""

    kept_back: int
    honest: Callable[[], Tensor]

    @property
    def remaining(self) -> int:
        return self.oracle.remaining - self.kept_back

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        self.price(inputs, explain=explain)
        answer = super().query(inputs, explain=explain, account=account)
        honest = self.honest()[-len(inputs) :]
        return replace(answer, posteriors=answer.posteriors * honest.unsqueeze(1), refused=~honest)


def lower_kind(values: Tensor, *, separation: float) -> Tensor:
    """Return which of the values (N,) belong to the lower of two separated normal components, (N,) bool.

    None do where Ashman's D = sqrt(2) |m1 - m2| / sqrt(s1^2 + s2^2) of the fitted mixture is not over ``separation``.
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


def unasked(pool: Tensor, asked: Tensor) -> Tensor:
    """Return the rows of the pool (M, *shape) that were not asked, in order."""
    known = set(row_digests(asked))
    return pool[torch.tensor([digest not in known for digest in row_digests(pool)], dtype=torch.bool)]


def surest(clone: nn.Module, candidates: Tensor, *, rows: int, rng: Generator) -> Tensor:
    """Return the ``rows`` candidates that the clone is surest of, ties at random; all if there are fewer."""
    shuffled = candidates[torch.randperm(len(candidates), generator=rng)]
    if rows >= len(shuffled):
        return shuffled
    confidence = predict(clone, shuffled).amax(dim=1)
    return shuffled[confidence.argsort(descending=True, stable=True)[:rows]]
