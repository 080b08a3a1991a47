"""Solve a linear model from its answers: log-odds are linear in the input, so d + 1 rows determine the weights.

Source: Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing Machine Learning Models via Prediction APIs", USENIX
Security 2016, arXiv 1609.02943, section 4.1, binary and multiclass.
Departures: the d + 1 rows lie on the axes, which keeps the solution exact through float32, and ``n_check`` more rows
verify it. Answers that are rounded, noisy or labels, models that are not linear, and budgets below d + 1, get a
convex cross-entropy fit of an affine model to everything asked, where least squares on logarithms would invent odds.
A budget of d + 1 exactly leaves no row to verify with.
Published number: 1 - R_test = 100 % with d + 1 queries for logistic regression. Reproduced: number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from arena.contracts import Attack, AttackerGround, AttackFault, BadParameter, Oracle, StopReason, Task
from arena.learning.architectures import build
from arena.learning.release import decimals, looks_one_hot
from arena.learning.training import soft_cross_entropy
from arena.learning.transfer_set import TransferSet

_ITERATIONS_A_LOOK = 20  # of L-BFGS between two looks at the clock


class ExtractionInexact(AttackFault):
    """The answers do not determine a linear model exactly, and ``strict`` asked for nothing less."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Affine:
    """Logits x W + b: weights (d, K) and bias (K,), float64."""

    weights: Tensor
    bias: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        return inputs.double().flatten(1) @ self.weights + self.bias


@dataclass(frozen=True, kw_only=True)
class EquationSolving(Attack):
    """Stops once ``n_check`` rows agree within ``tolerance``, unless ``spend_all``.

    ``design`` draws the rows beyond the first d + 1; ``input_scale`` is how far along its axis each of those lies;
    ``strict`` raises `ExtractionInexact` where the answers are not exact; ``l2_soft``, ``l2_hard`` (one-hot rows) and
    ``iterations`` are those of the fit.
    """

    stops_early: ClassVar[frozenset[StopReason]] = frozenset({"solved exactly"})

    design: Literal["mixed", "uniform", "pool"] = "mixed"
    input_scale: float = 1.0
    n_check: int = 10
    tolerance: float = 1e-5
    strict: bool = False
    spend_all: bool = False
    l2_soft: float = 1e-6
    l2_hard: float = 1e-4
    iterations: int = 300

    def __post_init__(self) -> None:
        if not 0 < self.input_scale <= 1 or self.n_check < 1:
            message = f"input_scale = {self.input_scale} lies in (0, 1] and n_check = {self.n_check} is at least 1"
            raise BadParameter(message)

    def extract(self, oracle: Oracle, ground: AttackerGround, *, rng: Generator) -> nn.Module:
        """Ask the axes and solve; where that is not exact, ask the rest of the budget and fit."""
        rows = TransferSet(oracle)
        draw = _Design(ground.pool, oracle.task, kind=self.design, rng=rng)
        found = self._solved(oracle, rows, draw)
        if isinstance(found, str) and self.strict:
            raise ExtractionInexact(found)
        if isinstance(found, str) or self.spend_all:
            rows.ask(draw(oracle.remaining))
        model = self._fitted(rows, ground) if isinstance(found, str) else found
        return _clone(model, oracle.task, ground, rng=rng)

    def _solved(self, oracle: Oracle, rows: TransferSet, draw: _Design) -> Affine | str:
        """Return the model that the axes give and the check rows confirm, or why there is none."""
        columns = math.prod(oracle.task.shape)
        if oracle.remaining <= columns:
            return (
                f"{oracle.remaining} rows do not determine a linear model of {columns} inputs: it takes {columns + 1}"
            )
        answers = rows.ask(axes(oracle.task, scale=self.input_scale))
        reason = why_inexact(answers)
        if reason:
            return reason
        solved = solve(answers, scale=self.input_scale)
        inputs = draw(min(self.n_check, oracle.remaining))
        differences = (solved(inputs).softmax(dim=1) - rows.ask(inputs).double()).abs()
        worst = float(differences.max()) if len(inputs) else 0.0
        if worst <= self.tolerance:
            return solved
        return f"check rows differ from the solution by up to {worst:.1e}: the model is not linear, or it is defended"

    def _fitted(self, rows: TransferSet, ground: AttackerGround) -> Affine:
        inputs, answers = rows.answered()
        answers = answers.double()
        penalty = self.l2_hard if looks_one_hot(answers) else self.l2_soft
        weights = torch.zeros(math.prod(inputs.shape[1:]), answers.shape[1], dtype=torch.float64, requires_grad=True)
        bias = torch.zeros(answers.shape[1], dtype=torch.float64, requires_grad=True)
        model, flat = Affine(weights=weights, bias=bias), inputs.double()
        optimiser = torch.optim.LBFGS(
            [weights, bias],
            max_iter=_ITERATIONS_A_LOOK,
            history_size=50,
            line_search_fn="strong_wolfe",
            tolerance_grad=1e-10,
            tolerance_change=1e-14,
        )

        def loss() -> float:
            optimiser.zero_grad()
            value = soft_cross_entropy(model(flat), answers) + penalty * weights.square().sum()
            value.backward()
            return float(value.detach())

        for _ in range(0, self.iterations if len(inputs) else 0, _ITERATIONS_A_LOOK):
            if ground.time_left() <= 0:
                break
            optimiser.step(loss)
        return Affine(weights=weights.detach(), bias=bias.detach())


def axes(task: Task, *, scale: float) -> Tensor:
    """Return the inputs 0, s e_1, ..., s e_d as (d + 1, *shape): condition number about d, where random rows have d^2."""
    columns = math.prod(task.shape)
    return torch.cat([torch.zeros(1, columns), scale * torch.eye(columns)]).reshape(-1, *task.shape)


def solve(answers: Tensor, *, scale: float) -> Affine:
    """Return the affine model of the answers (d + 1, K) to `axes`, rows of weights and bias centred.

    Softmax fixes logits up to a constant a row: log p less its mean over classes is linear in the input. Ratios of
    released numbers only: 1 - p has no digits left for a confident victim.
    """
    ratios = answers.double().log()
    ratios = ratios - ratios.mean(dim=1, keepdim=True)
    return Affine(weights=(ratios[1:] - ratios[:1]) / scale, bias=ratios[0])


def why_inexact(answers: Tensor) -> str:
    """Return why rows (N, K) cannot be solved exactly, empty if they may be."""
    places = decimals(answers)
    if places is not None:
        return f"the answers look rounded to {places} decimals"
    if looks_one_hot(answers):
        return "the answers are labels"
    if bool((answers <= 0).any()):
        return f"{int((answers <= 0).sum())} of {answers.numel()} released numbers are 0 and have no logarithm"
    return ""


def _clone(model: Affine, task: Task, ground: AttackerGround, *, rng: Generator) -> nn.Module:
    clone = build("linear", task, rng=rng)
    layer = next(module for module in clone.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        layer.weight.copy_(model.weights.T)
        layer.bias.copy_(model.bias)
    return clone.to(ground.device).eval()


class _Design:
    """Draws rows: uniform ones, pool rows without replacement, or half of each; uniform when the pool is over."""

    def __init__(self, pool: Tensor, task: Task, *, kind: Literal["mixed", "uniform", "pool"], rng: Generator) -> None:
        self._pool = pool[torch.randperm(len(pool), generator=rng)]
        self._share = {"mixed": 0.5, "uniform": 0.0, "pool": 1.0}[kind]
        self._shape, self._rng = task.shape, rng

    def __call__(self, rows: int) -> Tensor:
        taken, self._pool = self._pool[: int(rows * self._share)], self._pool[int(rows * self._share) :]
        return torch.cat([torch.rand(rows - len(taken), *self._shape, generator=self._rng), taken])
