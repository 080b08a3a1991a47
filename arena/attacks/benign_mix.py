"""Hide generated queries among natural ones, so that what a detector measures stays near what ordinary users send.

Source: the evasion that Juuti, Szyller, Marchal, Asokan, "PRADA: Protecting Against DNN Model Stealing Attacks",
EuroS&P 2019, arXiv 1805.02628, section 7, expect of an attacker who knows the detector: dummy queries.
Departures: the dummies are rows of the pool and train the clone too, so that their price is not the whole of their
share. The base is given what the pool has over.
Published number: none at equal terms. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.oracle_views import AttackWrapper, OracleView
from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import Answer, AttackContext, BadParameter, Need, Oracle, StopReason
from arena.learning.distillation import distil
from arena.learning.randomness import child
from arena.learning.release import joined, picked


@dataclass(frozen=True, kw_only=True)
class BenignMix(AttackWrapper):
    """``ratio`` natural rows go with each row of ``base``, fewer where the pool is short, in calls of ``call_rows``.

    The clone of the base is trained on by ``steps`` (None: the referee's recipe) with everything that was bought; with
    a ratio of 0 the base plays as it is.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"pool"})
    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"deadline"})

    ratio: float = 1.0
    call_rows: int = 10
    steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ratio < 0 or self.call_rows < 1:
            message = f"ratio = {self.ratio} is not below 0, and call_rows = {self.call_rows} is at least 1"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Whatever ``base`` does, mixed; then train its clone on the natural rows too."""
        share, spare = self.ratio / (1 + self.ratio), oracle.remaining - self.base.min_budget(oracle.task)
        size = min(int(share * oracle.remaining), int(share * len(context.pool)), spare)
        if size == 0:
            return self.base.extract(oracle, context, rng=rng)
        own = child(rng)
        pool = context.pool[torch.randperm(len(context.pool), generator=own)]
        bought = TransferSet(oracle)
        mixed = _MixedOracle(oracle=bought, natural=pool[:size], call_rows=self.call_rows, rng=own)
        clone = self.base.extract(mixed, replace(context, pool=pool[size:]), rng=rng)
        if context.time_left() > 0:
            mixed.finish()
        return distil(clone, *bought.answered(), rng=own, steps=self.steps, time_left=context.time_left)


@dataclass(kw_only=True, eq=False)
class _MixedOracle(OracleView):
    """Sends ``natural`` rows along with each call, in proportion; their price is kept back from whom it is for."""

    natural: Tensor
    call_rows: int
    rng: Generator

    def __post_init__(self) -> None:
        self._kept_back = len(self.natural)  # units for natural rows; an explained one costs more of them

    @property
    def remaining(self) -> int:
        return self.oracle.remaining - self._kept_back

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        price = self.price(inputs, explain=explain) // len(inputs)
        company = self._kept_back * len(inputs) // self.remaining
        order = torch.randperm(len(inputs) + company, generator=self.rng)
        mixed = torch.cat([inputs, self._taken(company, price=price)])[order]
        ask = self.oracle.query
        answers = [ask(call, explain=explain, account=account) for call in mixed.split(self.call_rows)]
        return picked(joined(answers), order.argsort()[: len(inputs)])

    def finish(self) -> None:
        """Ask the natural rows that are still to come."""
        for call in self._taken(self._kept_back, price=1).split(self.call_rows):
            if len(call):
                self.oracle.query(call)

    def _taken(self, rows: int, *, price: int) -> Tensor:
        taken, self.natural = self.natural[:rows], self.natural[rows:]
        self._kept_back -= rows * price
        return taken
