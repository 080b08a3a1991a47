"""A victim without torch modules, and the context that defenses are deployed on."""

from dataclasses import dataclass

import torch
from torch import nn

from arena.contracts import DefenseContext, QueryBatch, Task
from arena.learning.architectures import build


@dataclass(frozen=True)
class LinearVictim:
    """Softmax of a fixed linear map: 5 columns to ``classes``; ``scale`` makes it confident."""

    classes: int = 6
    scale: float = 4.0
    module: nn.Module | None = None

    @property
    def task(self):
        return Task(shape=(5,), classes=self.classes)

    def __call__(self, inputs):
        weights = torch.randn(5, self.classes, generator=torch.Generator().manual_seed(7))
        return (self.scale * (inputs - 0.5) @ weights).softmax(dim=1)


def context(victim=None):
    victim = victim or LinearVictim()
    surrogate = build("mlp", victim.task, rng=torch.Generator().manual_seed(3))
    return DefenseContext(
        victim=victim,
        device=torch.device("cpu"),
        training=labelled(victim, seed=11),
        validation=labelled(victim, seed=12),
        outliers=0.1 * inputs(seed=13),  # a corner of the cube
        surrogate=surrogate,
    )


def labelled(victim, *, seed):
    rows = inputs(seed=seed)
    return rows, victim(rows).argmax(dim=1)


def deployed(defense, *, victim=None, seed=0):
    """The defense as a function from inputs to released rows."""
    here = context(victim)
    state = defense.train(here, rng=torch.Generator().manual_seed(0))
    respond = defense.deploy(here, state, rng=torch.Generator().manual_seed(seed))
    return lambda inputs: respond(QueryBatch(inputs=inputs)).posteriors


def inputs(rows=60, seed=0):
    return torch.rand(rows, 5, generator=torch.Generator().manual_seed(seed))
