"""Release only the predicted class, as a one-hot row (the hard-label setting): the yardstick for defenses.

Source: Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing Machine Learning Models via Prediction APIs", USENIX
Security 2016, arXiv 1609.02943, section 6.
Departures: None. Published number: none that a later table repeats. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator

from arena.contracts import DefenseContext, Promise, Responder, State
from arena.learning.composition import ComposableDefense, transformed
from arena.learning.training import one_hot


@dataclass(frozen=True, kw_only=True)
class LabelOnly(ComposableDefense):
    """Has no parameters."""

    @property
    def own_promise(self) -> Promise:
        return Promise(argmax=True)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        return transformed(
            self.below(context, state, rng=rng), lambda rows, _: one_hot(rows.argmax(dim=1), rows.shape[1])
        )
