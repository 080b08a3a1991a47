"""Round the confidence scores to a few decimals, so that answers carry less information.

Source: Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing Machine Learning Models via Prediction APIs", USENIX
Security 2016, arXiv 1609.02943, section 7.
Departures: Rows are normalised after rounding (half to even). If the rounded maximum is tied, or all entries are 0, the
victim's class gets one unit more, so that every row lies on the simplex and keeps its argmax.
Published number: none that a later table repeats. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor

from arena.contracts import BadParameter, DefenseContext, Promise, Responder, State
from arena.learning.composition import ComposableDefense, transformed


@dataclass(frozen=True, kw_only=True)
class Rounding(ComposableDefense):
    """``decimals`` is how many decimals each posterior keeps; 0 leaves little more than the label."""

    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("decimals", (3, 2, 1, 0))

    decimals: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.decimals <= 6:
            message = f"decimals = {self.decimals} must be 0 to 6, as float32 posteriors have no more"
            raise BadParameter(message)

    @property
    def own_promise(self) -> Promise:
        return Promise(argmax=True)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        return transformed(self.below(context, state, rng=rng), lambda rows, _: rounded(rows, self.decimals))


def rounded(posteriors: Tensor, decimals: int) -> Tensor:
    """Return (N, K) float64 in whole units of 10^-decimals, with one more for a tied argmax, then normalised."""
    units = (posteriors.double() * 10.0**decimals).round()
    best = posteriors.argmax(dim=1, keepdim=True)
    top = units.gather(1, best)
    rival = units.scatter(1, best, -1.0).amax(dim=1, keepdim=True)
    units = units.scatter_add(1, best, (top <= rival).double())
    return units / units.sum(dim=1, keepdim=True)
