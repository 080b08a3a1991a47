"""Run a known defense on the attacker's own posteriors, as anyone who has its code can."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, device, nn

from arena.contracts import Defense, DefenseContext, QueryBatch, Task
from arena.learning.architectures import build
from arena.learning.composition import ComposableDefense
from arena.learning.randomness import child

SIMULATED_NEEDS = frozenset({"surrogate"})


def simulable(defense: Defense) -> bool:
    """Return whether a defense and all those below it map posteriors without training, outliers or earlier calls."""
    untrained = type(defense).train in (Defense.train, ComposableDefense.train) and not defense.replaces_victim
    below = defense.base if isinstance(defense, ComposableDefense) else None
    possible = untrained and defense.needs <= SIMULATED_NEEDS and not defense.promise.stateful
    return possible and (below is None or simulable(below))


class SimulatedDefense:
    """Computes what a `simulable` defense would release if the victim had answered inputs with the given posteriors.

    A defense that needs a surrogate is given a random network, because the attacker does not know the defender's.
    """

    def __init__(self, defense: Defense, task: Task, *, on: device, rng: Generator) -> None:
        self._victim = _Supplied(task)
        nothing = torch.empty(0, *task.shape), torch.empty(0, dtype=torch.int64)
        surrogate = build("auto", task, rng=child(rng)).to(on).eval() if "surrogate" in defense.needs else None
        context = DefenseContext(
            victim=self._victim, device=on, training=nothing, validation=nothing, surrogate=surrogate
        )
        self._respond = defense.deploy(context, {}, rng=child(rng))

    def __call__(self, inputs: Tensor, posteriors: Tensor) -> Tensor:
        self._victim.posteriors = posteriors
        return self._respond(QueryBatch(inputs=inputs)).posteriors


class _Supplied:
    """A victim whose posteriors are set from outside before it is queried."""

    module: nn.Module | None = None

    def __init__(self, task: Task) -> None:
        self.task = task
        self.posteriors = torch.empty(0, task.classes)

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.posteriors
