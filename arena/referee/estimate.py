"""Estimates how long a tournament will take: its number of training steps, times the measured duration of a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from arena.contracts import Matchup, Spec, Task
from arena.learning.architectures import build
from arena.learning.distillation import recipe_steps
from arena.learning.randomness import generator
from arena.learning.training import fit, one_thread

TIMED_STEPS = 30
CLONES = 3  # per match: tracks A and A-hard, and the attack's own


def seconds_of_training(matchups: Sequence[Matchup], task_of: Callable[[Spec], Task]) -> float:
    """Return the seconds of clone training on one core, a lower bound: attacks that train in rounds take longer."""
    by_victim: dict[tuple[Spec, str], int] = {}
    for matchup in matchups:
        steps = (CLONES + len(matchup.curve)) * (matchup.recipe.steps or recipe_steps(matchup.budget))
        key = (matchup.victim, matchup.recipe.arch)
        by_victim[key] = by_victim.get(key, 0) + steps
    return sum(steps * _seconds_per_step(task_of(victim), arch) for (victim, arch), steps in by_victim.items())


def _seconds_per_step(task: Task, arch: str) -> float:
    rng = generator(0, "estimate")
    inputs = torch.rand(64, *task.shape, generator=rng)
    targets = torch.rand(64, task.classes, generator=rng).softmax(dim=1)
    network = build(arch, task, rng=rng)
    with one_thread():
        fit(network, inputs, targets, steps=3, rng=rng)  # the first steps compile kernels
        start = time.perf_counter()
        fit(network, inputs, targets, steps=TIMED_STEPS, rng=rng)
    return (time.perf_counter() - start) / TIMED_STEPS
