"""Spread the queries over several accounts, so that a detector that watches each account separately sees few of them.

Source: the Sybil attack (Douceur, IPTPS 2002) on detectors that keep state for each account, such as that of Juuti,
Szyller, Marchal, Asokan, "PRADA", EuroS&P 2019, arXiv 1805.02628, section 7.
Departures: Accounts cost nothing; the matchup sets their number.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.oracle_views import AttackWrapper
from arena.contracts import Answer, AttackContext, Need, Oracle
from arena.learning.oracle_view import OracleView
from arena.learning.release import joined, picked
from arena.learning.tensors import row_digests


@dataclass(frozen=True, kw_only=True)
class Sybil(AttackWrapper):
    """Sends the rows of ``base``, which sees a single account, through all accounts in turn.

    ``assignment = "by-origin"`` separates rows of the pool from synthetic rows, with half of the accounts for each.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"accounts"})

    assignment: Literal["round-robin", "by-origin"] = "round-robin"

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Play ``base`` through many accounts."""
        natural = frozenset(row_digests(context.pool)) if self.assignment == "by-origin" else None
        return self.base.extract(_ManyAccounts(oracle=oracle, natural=natural), context, rng=rng)


@dataclass(kw_only=True, eq=False)
class _ManyAccounts(OracleView):
    """Sends each row through the account whose turn it is; ``natural`` are digests of the pool's rows, if needed."""

    natural: frozenset[bytes] | None

    def __post_init__(self) -> None:
        self._turns = [0, 0]  # rows of each origin so far

    @property
    def accounts(self) -> int:
        return 1

    def query(self, inputs: Tensor, *, explain: bool = False, account: int = 0) -> Answer:
        self.price(inputs, explain=explain)
        senders = self._senders(inputs)
        rows = [(senders == sender).nonzero().squeeze(1) for sender in senders.unique()]
        answers = [
            self.oracle.query(inputs[chosen], explain=explain, account=int(senders[chosen[0]])) for chosen in rows
        ]
        return picked(joined(answers), torch.cat(rows).argsort())

    def _senders(self, inputs: Tensor) -> Tensor:
        """Return the account (N,) of each row."""
        accounts, synthetic = self.oracle.accounts, torch.zeros(len(inputs), dtype=torch.bool)
        groups = [range(accounts)]
        if self.natural is not None and accounts > 1:
            synthetic = torch.tensor([digest not in self.natural for digest in row_digests(inputs)])
            groups = [range(accounts // 2), range(accounts // 2, accounts)]
        senders = torch.zeros(len(inputs), dtype=torch.int64)
        for origin, group in enumerate(groups):
            chosen = (synthetic == bool(origin)).nonzero().squeeze(1)
            senders[chosen] = group.start + (self._turns[origin] + torch.arange(len(chosen))) % len(group)
            self._turns[origin] += len(chosen)
        return senders
