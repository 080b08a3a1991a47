"""Release the victim's own answers: the baseline for every other defense.

Source: none. Departures: None. Published number: none. Reproduced: the released rows are the victim's, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator

from arena.contracts import Defense, DefenseContext, Promise, Responder, State
from arena.learning.composition import answered_by


@dataclass(frozen=True, kw_only=True)
class NoDefense(Defense):
    """Has no parameters."""

    @property
    def promise(self) -> Promise:
        return Promise(argmax=True, l1=0.0)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        return answered_by(context.victim)
