"""Runs an attack under Python's debugger."""

from __future__ import annotations

import pdb
import sys

from torch import Generator, nn

from arena.contracts import Attack, AttackContext, Oracle


class DebuggedAttack(Attack):
    """An attack whose ``extract`` runs under the debugger from its first line."""

    def __init__(self, *, base: Attack) -> None:
        self._base = base
        self.needs, self.stops_early = base.needs, base.stops_early  # type: ignore[misc]  # class variables of the base

    def min_budget(self, task: object) -> int:
        return self._base.min_budget(task)  # type: ignore[arg-type]  # the same task

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        debugger = pdb.Pdb(stdout=sys.__stdout__)
        clone = debugger.runcall(self._base.extract, oracle, context, rng=rng)
        assert clone is not None, "extract returns a clone"
        return clone
