"""Release only the k largest confidence scores.

Source: Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing Machine Learning Models via Prediction APIs", USENIX
Security 2016, arXiv 1609.02943, section 7.
Departures: The other classes' mass is removed by normalising (``zero``) or divided evenly among them (``spread``),
because every released row must lie on the simplex.
Published number: none that a later table repeats. Reproduced: formula. With ``zero``, k = 1 is label-only,
so the default is 2; version 1 had k = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Generator, Tensor

from arena.contracts import BadParameter, DefenseContext, Promise, Responder, State, Task
from arena.learning.composition import ComposableDefense, transformed
from arena.learning.release import keep_argmax

Rest = Literal["zero", "spread"]


@dataclass(frozen=True, kw_only=True)
class TopK(ComposableDefense):
    """Keeps ``k`` posteriors; ``rest`` determines what happens to the mass of the others. k = K changes nothing."""

    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("k", (5, 3, 2, 1))

    k: int = 2
    rest: Rest = "zero"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            message = f"k = {self.k}: at least one posterior must be released"
            raise BadParameter(message)

    @property
    def own_promise(self) -> Promise:
        return Promise(argmax=True)

    def check(self, task: Task) -> None:
        super().check(task)
        if self.k > task.classes:
            message = f"top-k: k = {self.k}, and this task has {task.classes} classes; k must be 1 to {task.classes}"
            raise BadParameter(message)

    def deploy(self, context: DefenseContext, state: State, *, rng: Generator) -> Responder:
        return transformed(self.below(context, state, rng=rng), lambda rows, _: truncated(rows, self.k, rest=self.rest))


def truncated(posteriors: Tensor, k: int, *, rest: Rest) -> Tensor:
    """Return rows (N, K) with their k largest entries, ties going to the lowest index; ``rest`` treats the others."""
    classes = posteriors.shape[1]
    if k >= classes:
        return posteriors
    rows = posteriors.double()
    order = rows.argsort(dim=1, descending=True, stable=True)
    kept = rows.scatter(1, order[:, k:], 0.0)
    if rest == "zero":
        return keep_argmax(kept / kept.sum(dim=1, keepdim=True), posteriors)
    left = (rows.sum(dim=1, keepdim=True) - kept.sum(dim=1, keepdim=True)) / (classes - k)
    return keep_argmax(kept.scatter(1, order[:, k:], left.expand(-1, classes - k)), posteriors)
