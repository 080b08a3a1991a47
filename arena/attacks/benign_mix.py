"""Hide generated queries among natural ones, so that a detector measures much the same as for ordinary users.

Source: the evasion that Juuti, Szyller, Marchal, Asokan, "PRADA: Protecting Against DNN Model Stealing Attacks",
EuroS&P 2019, arXiv 1805.02628, section 7, expect of an attacker who knows the detector: dummy queries.
Departures: The dummy queries are rows of the pool and also train the clone, so that their share of the budget is not
entirely lost. The base plays with the rest of the pool.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

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
from arena.learning.release import joined, picked


@dataclass(frozen=True, kw_only=True)
class BenignMix(AttackWrapper):
    """Sends ``ratio`` natural rows for each row of ``base``, or fewer if the pool is small, in calls of ``call_rows``.

    Afterwards a new clone like that of the base is trained for ``steps`` steps (None: the referee's recipe) on the whole
    transfer set. With a ratio of 0 the base plays unchanged.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})
    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"deadline"})

    ratio: float = 1.0
    call_rows: int = 10
    steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ratio < 0 or self.call_rows < 1:
            message = f"ratio = {self.ratio} must be at least 0, and call_rows = {self.call_rows} at least 1"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Play ``base`` with natural rows mixed in, then train a new clone on the natural rows as well."""
        share, spare = self.ratio / (1 + self.ratio), oracle.remaining - self.base.min_budget(oracle.task)
        size = min(int(share * oracle.remaining), int(share * len(context.pool)), spare)
        if size == 0:
            return self.base.extract(oracle, context, rng=rng)
        draws = child(rng)
        pool = context.pool[torch.randperm(len(context.pool), generator=draws)]
        transfer_set = TransferSet(oracle)
        mixed = _MixedOracle(oracle=transfer_set, natural=pool[:size], call_rows=self.call_rows, rng=draws)
        clone = self.base.extract(mixed, replace(context, pool=pool[size:]), rng=rng)
        if context.time_left() > 0:
            mixed.finish()
        clone = untrained_like(clone, oracle.task, rng=draws)
        return distil(clone, *transfer_set.answered(), rng=draws, steps=self.steps, time_left=context.time_left)


@dataclass(kw_only=True, eq=False)
class _MixedOracle(OracleView):
    """Mixes ``natural`` rows into each call, in proportion, and reserves their price from the budget."""

    natural: Tensor
    call_rows: int
    rng: Generator

    def __post_init__(self) -> None:
        self._reserved = len(self.natural)  # units of the budget for natural rows; an explained row costs more

    @property
    def remaining(self) -> int:
        return self.oracle.remaining - self._reserved

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        price = self.price(inputs, explain=explain) // len(inputs)
        dummies = self._reserved * len(inputs) // self.remaining
        order = torch.randperm(len(inputs) + dummies, generator=self.rng)
        mixed = torch.cat([inputs, self._taken(dummies, price=price)])[order]
        query = self.oracle.query
        answers = [query(call, explain=explain, account=account) for call in mixed.split(self.call_rows)]
        return picked(joined(answers), order.argsort()[: len(inputs)])

    def finish(self) -> None:
        """Query the natural rows that have not been sent yet."""
        for call in self._taken(self._reserved, price=1).split(self.call_rows):
            if len(call):
                self.oracle.query(call)

    def _taken(self, rows: int, *, price: int) -> Tensor:
        taken, self.natural = self.natural[:rows], self.natural[rows:]
        self._reserved -= rows * price
        return taken
