"""Ask each row several times and average the answers: fresh noise shrinks, at the price of fewer rows.

Source: repeated queries against randomised answers, as in Orekondy, Schiele, Fritz, "Prediction Poisoning", ICLR
2020, arXiv 1906.10908, section 5.3, and in the smoothing attacker of Tang et al., "ModelGuard", USENIX Security 2024.
Departures: a probe first finds out whether there is noise to average at all, and whether it follows the bytes of the
input, so that only moved copies get fresh noise. Its rows do not train the clone, and below 30 times ``probe`` rows
it would cost more than a tenth of the budget: the base then plays as it is. Averaging removes variance, not bias:
noise that was clipped to the simplex stays off by its mean.
Published number: none at equal terms. Reproduced: formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.oracle_views import AttackWrapper, OracleView
from arena.contracts import Answer, AttackContext, BadParameter, Oracle
from arena.learning.distillation import LOG_FLOOR
from arena.learning.randomness import child

Space = Literal["probabilities", "logits"]

EQUAL = 1e-6  # answers that differ by less are the same answer
LARGEST_SHARE = 10  # a probe costs at most this part of the budget


@dataclass(frozen=True, kw_only=True)
class Averaging(AttackWrapper):
    """Each row of ``base`` is asked ``repeats`` times, and what the budget has over goes to its first rows.

    ``probe`` rows are asked twice, and once more moved by normal noise of deviation ``jitter``; answers that moved by
    more than ``moved`` (mean L1 distance) then show noise that follows the input. ``space`` is where means are taken:
    of posteriors, or of their logarithms for noise that was added to logits.
    """

    repeats: int = 4
    probe: int = 8
    jitter: float = 0.01
    moved: float = 0.15
    space: Space = "probabilities"

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.repeats, self.probe) < 1 or self.jitter < 0:
            message = (
                f"repeats = {self.repeats} and probe = {self.probe} are at least 1, jitter = {self.jitter} not below 0"
            )
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Probe, then play ``base`` on averaged answers, or on plain ones where there is no noise to average."""
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
        """Return by how much to move copies so that their noise is fresh, or None if there is no noise."""
        rows = pool[torch.randperm(len(pool), generator=rng)[: self.probe]]
        rows = torch.cat([rows, torch.rand(self.probe - len(rows), *oracle.task.shape, generator=rng)])
        first, second = (oracle.query(rows).posteriors for _ in range(2))
        if float((first - second).abs().max()) > EQUAL:
            return 0.0
        third = oracle.query(_moved_by(self.jitter, rng=rng)(rows)).posteriors
        return self.jitter if float((first - third).abs().sum(dim=1).mean()) > self.moved else None


@dataclass(kw_only=True, eq=False)
class _AveragedOracle(OracleView):
    """Answers each row by the mean over ``repeats`` copies of it; one row costs what they cost."""

    repeats: int
    moved: Callable[[Tensor], Tensor]
    space: Space

    @property
    def remaining(self) -> int:
        return self.oracle.remaining // self.repeats

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        price = self.price(inputs, explain=explain) // len(inputs)
        over = self.oracle.remaining % self.repeats // price  # copies that would otherwise never be asked
        copies = self.repeats + over // len(inputs) + (torch.arange(len(inputs)) < over % len(inputs)).long()
        row = torch.arange(len(inputs)).repeat_interleave(copies)
        answer = self.oracle.query(self.moved(inputs[row]), explain=explain, account=account)
        heard, maps = ~answer.refused, answer.explanations
        return Answer(
            posteriors=averaged(answer.posteriors, row, heard, rows=len(inputs), space=self.space),
            refused=torch.zeros(len(inputs)).index_add(0, row, heard.float()) == 0,
            explanations=None if maps is None else averaged(maps, row, heard, rows=len(inputs)),
        )


def averaged(values: Tensor, row: Tensor, heard: Tensor, *, rows: int, space: Space = "probabilities") -> Tensor:
    """Return (N, ...) float32 means of the values (M, ...) whose ``row`` (M,) is n and that were ``heard`` (M,) bool.

    Of the logarithms for ``logits``, normalised again. N = ``rows``; a row of which nothing was heard is zero.
    """
    weight = heard.double().reshape(-1, *[1] * (values.dim() - 1))
    heard_of = torch.zeros(rows, *weight.shape[1:], dtype=weight.dtype).index_add(0, row, weight)
    logarithms = space == "logits"
    terms = weight * (values.double().clamp(min=LOG_FLOOR).log() if logarithms else values.double())
    sums = torch.zeros(rows, *values.shape[1:], dtype=weight.dtype).index_add(0, row, terms)
    means = sums / heard_of.clamp(min=1)
    return ((means.softmax(dim=1) * (heard_of > 0)) if logarithms else means).float()


def _moved_by(jitter: float, *, rng: Generator) -> Callable[[Tensor], Tensor]:
    """Return what adds normal noise of deviation ``jitter`` to inputs, within [0, 1]; nothing for 0."""

    def moved(inputs: Tensor) -> Tensor:
        return (inputs + jitter * torch.randn(inputs.shape, generator=rng)).clamp(0, 1) if jitter else inputs

    return moved
