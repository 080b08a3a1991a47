"""Solve a linear model from its answers: log-odds are linear in the input, so d + 1 rows determine the weights.

Source: Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing Machine Learning Models via Prediction APIs", USENIX
Security 2016, arXiv 1609.02943, section 4.1, binary and multiclass.
Departures: the d + 1 rows lie on the axes, which keeps the solution exact through float32, and ``n_check`` rows before
them verify it. Answers that are rounded, noisy or labels, models that are not linear, and budgets below d + 1, get a
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

from arena.attacks.parts.transfer_set import TransferSet
from arena.contracts import Attack, AttackContext, AttackFault, BadParameter, Oracle, StopReason, Task
from arena.learning.architectures import Classifier, build
from arena.learning.release import decimals, looks_one_hot
from arena.learning.training import minimise, soft_cross_entropy

CHECKED_SHARE = 10  # a fit gives up at most this part of what remains to be checked on


@dataclass(frozen=True, kw_only=True)
class Check:
    """How a model answers ``rows`` that it was not made from, of which there are 0 where the budget left none."""

    rows: int
    worst: float  # largest |posterior - released number|
    disagreement: float  # share of the rows that it gives another class


class ExtractionInexact(AttackFault):
    """The answers do not determine a linear model exactly, and ``strict`` asked for nothing less.

    ``check`` is how far the solution was off, None where there was none to check.
    """

    def __init__(self, message: str, *, check: Check | None = None) -> None:
        super().__init__(message)
        self.check = check


class SolvedClone(Classifier):
    """The linear clone with what is known of it: ``inexact`` says why it was fitted, empty if it was solved."""

    def __init__(self, network: Classifier, *, inexact: str, check: Check) -> None:
        super().__init__(network.body, architecture=network.architecture, task=network.task)
        self.inexact: str = inexact
        self.check: Check = check


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

    A fit is checked on as many rows, or a tenth of what remains if that is less; what came of the check stands in the
    `SolvedClone`. ``design`` draws the rows beyond the first d + 1; ``input_scale`` is how far along its axis each of
    those lies; ``strict`` raises `ExtractionInexact` where the answers are not exact; ``l2_soft``, ``l2_hard``
    (one-hot rows) and ``iterations`` are those of the fit.
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

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> SolvedClone:
        """Ask the axes and solve; where that is not exact, ask the rest of the budget and fit."""
        bought, held_out = TransferSet(oracle), TransferSet(oracle)
        draw = _Design(context.pool, oracle.task, kind=self.design, rng=rng)
        try:
            model, inexact = self._solved(bought, held_out, draw), ""
            if self.spend_all:
                bought.ask(draw(oracle.remaining))
        except ExtractionInexact as reason:
            if self.strict:
                raise
            inexact = str(reason)
            if not len(held_out):
                held_out.ask(draw(min(self.n_check, oracle.remaining // CHECKED_SHARE)))
            bought.ask(draw(oracle.remaining))
            model = self._fitted(bought, context)
        network = build("linear", oracle.task, rng=rng)
        layer = next(module for module in network.modules() if isinstance(module, nn.Linear))
        with torch.no_grad():
            layer.weight.copy_(model.weights.T)
            layer.bias.copy_(model.bias)
        check = compared(model, *held_out.answered())
        return SolvedClone(network.to(context.device), inexact=inexact, check=check).eval()

    def _solved(self, bought: TransferSet, held_out: TransferSet, draw: _Design) -> Affine:
        """Return the model that the axes give and the held-out rows confirm, or raise `ExtractionInexact`."""
        columns = math.prod(bought.task.shape)
        if bought.remaining <= columns:
            message = f"{bought.remaining} rows do not determine a linear model of {columns} inputs: "
            raise ExtractionInexact(message + f"it takes {columns + 1}")
        # The check rows go first: if they are coarse already, the rows of the design teach a fit more than the axes do.
        held_out.ask(draw(min(self.n_check, held_out.remaining - columns - 1)))
        coarse = why_inexact(held_out.released) or why_inexact(bought.ask(axes(bought.task, scale=self.input_scale)))
        if coarse:
            raise ExtractionInexact(coarse)
        model = solve(bought.released, scale=self.input_scale)
        check = compared(model, *held_out.answered())
        if check.worst > self.tolerance:
            message = f"check rows differ from the solution by up to {check.worst:.1e}: "
            raise ExtractionInexact(message + "the model is not linear, or it is defended", check=check)
        return model

    def _fitted(self, bought: TransferSet, context: AttackContext) -> Affine:
        inputs, answers = bought.answered()
        inputs, answers = inputs.double(), answers.double()
        weights = torch.zeros(math.prod(bought.task.shape), bought.task.classes, dtype=torch.float64)
        model = Affine(weights=weights.requires_grad_(True), bias=torch.zeros_like(weights[0]).requires_grad_(True))
        penalty = self.l2_hard if looks_one_hot(answers) else self.l2_soft

        def loss() -> Tensor:
            return soft_cross_entropy(model(inputs), answers) + penalty * model.weights.square().sum()

        if len(inputs):
            minimise(loss, [model.weights, model.bias], iterations=self.iterations, time_left=context.time_left)
        return Affine(weights=model.weights.detach(), bias=model.bias.detach())


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


def compared(model: Affine, inputs: Tensor, answers: Tensor) -> Check:
    """Return how the model does on inputs (N, *shape) with the released rows (N, K)."""
    if not len(inputs):
        return Check(rows=0, worst=0.0, disagreement=0.0)
    rows = model(inputs).softmax(dim=1)
    others = rows.argmax(dim=1) != answers.argmax(dim=1)
    worst = float((rows - answers.double()).abs().max())
    return Check(rows=len(inputs), worst=worst, disagreement=float(others.double().mean()))


class _Design:
    """Draws rows: uniform ones, pool rows without replacement, or half of each; uniform when the pool is over."""

    def __init__(self, pool: Tensor, task: Task, *, kind: Literal["mixed", "uniform", "pool"], rng: Generator) -> None:
        self._pool = pool[torch.randperm(len(pool), generator=rng)]
        self._share = {"mixed": 0.5, "uniform": 0.0, "pool": 1.0}[kind]
        self._shape, self._rng = task.shape, rng

    def __call__(self, rows: int) -> Tensor:
        taken, self._pool = self._pool[: int(rows * self._share)], self._pool[int(rows * self._share) :]
        return torch.cat([torch.rand(rows - len(taken), *self._shape, generator=self._rng), taken])
