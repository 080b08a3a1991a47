"""Query each row several times and average the answers, which reduces fresh noise at the price of fewer rows.

Source: repeated queries against randomised answers, as in Orekondy, Schiele, Fritz, "Prediction Poisoning", ICLR
2020, arXiv 1906.10908, section 5.3, and in the smoothing attacker of Tang et al., "ModelGuard", USENIX Security 2024.
Departures: A probe first determines whether there is any noise to average, and whether it is a function of the input's
bytes, so that only perturbed copies receive fresh noise. The probe's rows do not train the clone, and the base may
query them once more. If the budget is below 30 times ``probe`` rows, probing would cost more than a tenth of it, and
the base plays unchanged. Averaging removes variance but not bias: the mean of noise that was clipped to the simplex
remains.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.oracle_views import AttackWrapper
from arena.contracts import Answer, AttackContext, BadParameter, Oracle
from arena.learning.distillation import LOG_FLOOR
from arena.learning.oracle_view import OracleView
from arena.learning.randomness import child

Space = Literal["probabilities", "logits"]

EQUAL = 1e-6  # answers that differ by less count as equal
LARGEST_SHARE = 10  # a probe costs at most the budget divided by this number


@dataclass(frozen=True, kw_only=True)
class Averaging(AttackWrapper):
    """Queries each row of ``base`` ``repeats`` times; any remaining budget pays for more copies of its first rows.

    ``probe`` rows are queried twice, and a third time after adding normal noise of standard deviation ``jitter`` to
    them. If the first two answers agree but the third differs by more than ``moved`` (mean L1 distance), the noise is a
    function of the input. Means are taken in ``space``: of posteriors, or of their logarithms if noise was added to
    logits.
    """

    repeats: int = 4
    probe: int = 8
    jitter: float = 0.01
    moved: float = 0.15
    space: Space = "probabilities"

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.repeats, self.probe) < 1 or self.jitter < 0:
            message = f"repeats = {self.repeats} and probe = {self.probe} must be at least 1, and "
            message += f"jitter = {self.jitter} at least 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Probe for noise, then play ``base`` on averaged answers, or on unchanged ones if there is no noise."""
        if oracle.remaining < LARGEST_SHARE * 3 * self.probe:
            return self.base.extract(oracle, context, rng=rng)
        noise = child(rng)
        jitter = self._probed(oracle, context.pool, rng=noise)
        repeats = min(self.repeats, oracle.remaining // self.base.min_budget(oracle.task))
        if jitter is None or repeats < 2:
            return self.base.extract(oracle, context, rng=rng)
        moved = _moved_by(jitter, rng=noise)
        averaged = _AveragedOracle(oracle=oracle, repeats=repeats, moved=moved, space=self.space)
        return self.base.extract(averaged, context, rng=rng)

    def _probed(self, oracle: Oracle, pool: Tensor, *, rng: Generator) -> float | None:
        """Return how much to perturb copies so that each receives fresh noise, or None if there is no noise."""
        rows = pool[torch.randperm(len(pool), generator=rng)[: self.probe]]
        rows = torch.cat([rows, torch.rand(self.probe - len(rows), *oracle.task.shape, generator=rng)])
        first, second = (oracle.query(rows).posteriors for _ in range(2))
        if float((first - second).abs().max()) > EQUAL:
            return 0.0
        third = oracle.query(_moved_by(self.jitter, rng=rng)(rows)).posteriors
        return self.jitter if float((first - third).abs().sum(dim=1).mean()) > self.moved else None


@dataclass(kw_only=True, eq=False)
class _AveragedOracle(OracleView):
    """Answers each row with the mean answer to ``repeats`` copies of it, and charges the price of all copies."""

    repeats: int
    moved: Callable[[Tensor], Tensor]
    space: Space

    @property
    def remaining(self) -> int:
        return self.oracle.remaining // self.repeats

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        price = self.price(inputs, explain=explain) // len(inputs)
        extra = self.oracle.remaining % self.repeats // price  # copies that the budget would otherwise never pay for
        copies = self.repeats + extra // len(inputs) + (torch.arange(len(inputs)) < extra % len(inputs)).long()
        row = torch.arange(len(inputs)).repeat_interleave(copies)
        answer = self.oracle.query(self.moved(inputs[row]), explain=explain, account=account)
        answered, maps = ~answer.refused, answer.explanations
        return Answer(
            posteriors=averaged(answer.posteriors, row, answered, rows=len(inputs), space=self.space),
            refused=torch.zeros(len(inputs)).index_add(0, row, answered.float()) == 0,
            explanations=None if maps is None else averaged(maps, row, answered, rows=len(inputs)),
        )


def averaged(values: Tensor, row: Tensor, answered: Tensor, *, rows: int, space: Space = "probabilities") -> Tensor:
    """Return means (N, ...) float32 of the values (M, ...), grouped by ``row`` (M,), over those that were ``answered``.

    N = ``rows``; ``answered`` is (M,) bool. In the space of ``logits``, logarithms are averaged and the result is
    normalised again. A row without an answer is zero.
    """
    weight = answered.double().reshape(-1, *[1] * (values.dim() - 1))
    answers = torch.zeros(rows, *weight.shape[1:], dtype=weight.dtype).index_add(0, row, weight)
    logarithms = space == "logits"
    terms = weight * (values.double().clamp(min=LOG_FLOOR).log() if logarithms else values.double())
    sums = torch.zeros(rows, *values.shape[1:], dtype=weight.dtype).index_add(0, row, terms)
    means = sums / answers.clamp(min=1)
    return ((means.softmax(dim=1) * (answers > 0)) if logarithms else means).float()


def _moved_by(jitter: float, *, rng: Generator) -> Callable[[Tensor], Tensor]:
    """Return a function that adds normal noise of standard deviation ``jitter`` and clips to [0, 1]; 0 adds none."""

    def moved(inputs: Tensor) -> Tensor:
        return (inputs + jitter * torch.randn(inputs.shape, generator=rng)).clamp(0, 1) if jitter else inputs

    return moved
