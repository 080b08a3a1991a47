"""Steal without data, in turns: estimate the victim by a clone, and make inputs that the clone answers as was drawn.

Source: Yuan, Ding, Zhang, Li, Wu, "ES Attack: Model Stealing against Deep Neural Networks without Data Hurdles", IEEE
Transactions on Emerging Topics in Computational Intelligence 6(5), 2022, arXiv 2009.09560, with OPT-SYN: inputs are
optimised until the clone's answer is a row drawn from a Dirichlet distribution. Constants follow secondary sources.
Departures: The clone of a round is a new one, and inputs stay in [0, 1]. The other way to synthesise, by a generator, is
not here: ``disguide`` and ``dfme`` are attacks with one.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from arena.attacks.parts.rounds import FreshClones
from arena.attacks.parts.transfer_set import TransferSet, shares
from arena.contracts import Attack, AttackContext, BadParameter, Oracle, StopReason, Task
from arena.learning.randomness import child
from arena.learning.training import soft_cross_entropy


@dataclass(frozen=True, kw_only=True)
class EsAttack(Attack):
    """Spends the budget in ``rounds`` equal shares, the first on uniform noise.

    Every other input starts from noise and takes ``iterations`` steps of Adam with ``rate`` towards a row drawn from a
    Dirichlet distribution with parameter ``concentration``: the smaller it is, the surer the rows. The clone of a round
    is trained for ``steps_inner`` steps, the last one for ``steps`` (None: the referee's recipe).
    """

    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"deadline"})

    rounds: int = 10
    iterations: int = 30
    rate: float = 0.01
    concentration: float = 1.0
    arch: str = "auto"
    steps_inner: int = 400
    steps: int | None = None

    def __post_init__(self) -> None:
        if min(self.rounds, self.iterations) < 1 or min(self.rate, self.concentration) <= 0:
            message = "rounds and iterations must be at least 1, and rate and concentration more than 0"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> nn.Module:
        """Make inputs, query them and train a new clone, round by round. The pool is not used."""
        clones, draws = FreshClones(self.arch, oracle.task, context, rng=rng), child(rng)
        transfer_set, clone = TransferSet(oracle), None
        for share in filter(None, shares(oracle.remaining, self.rounds)):
            if len(transfer_set):
                if context.time_left() <= 0:
                    break
                clone = clones.fitted(transfer_set, steps=self.steps_inner)
            transfer_set.extend(self._inputs(clone, oracle.task, share, context, rng=draws))
        return clones.fitted(transfer_set, steps=self.steps)

    def _inputs(
        self, clone: nn.Module | None, task: Task, rows: int, context: AttackContext, *, rng: Generator
    ) -> Tensor:
        noise = torch.rand(rows, *task.shape, generator=rng)
        if clone is None:
            return noise
        wanted = dirichlet(rows, task.classes, concentration=self.concentration, rng=rng)
        return answered_as(
            clone, noise.to(context.device), wanted.to(context.device), iterations=self.iterations, rate=self.rate
        )


def answered_as(clone: nn.Module, inputs: Tensor, wanted: Tensor, *, iterations: int, rate: float) -> Tensor:
    """Move inputs (N, *shape) in [0, 1] by steps of Adam until a clone answers as wanted (N, K); return them on the CPU."""
    x = inputs.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([x], lr=rate)
    for _ in range(iterations):
        # the mean over rows, which all have the same number of terms: Adam does not see the factor
        (x.grad,) = torch.autograd.grad(soft_cross_entropy(clone(x), wanted), x)
        optimiser.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    return x.detach().cpu()


def dirichlet(rows: int, classes: int, *, concentration: float, rng: Generator) -> Tensor:
    """Return rows (N, K) on the simplex, drawn from the symmetric Dirichlet distribution."""
    # torch's own distribution takes no generator; gamma variables by their shape, normalised, are the same
    gammas = torch._standard_gamma(torch.full((rows, classes), concentration), generator=rng)
    return gammas / gammas.sum(dim=1, keepdim=True)
