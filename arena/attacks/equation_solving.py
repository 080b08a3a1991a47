"""Solve for the weights of a linear model: log-odds are linear in the input, so d + 1 answers determine them.

Source: Tramèr, Zhang, Juels, Reiter, Ristenpart, "Stealing Machine Learning Models via Prediction APIs", USENIX
Security 2016, arXiv 1609.02943, section 4.1, binary and multiclass.
Departures: The d + 1 queries lie on the axes, so that the solution stays exact in float32, and ``n_check`` queries
before them verify it. If the answers are rounded, noisy or hard labels, the model is not linear, or the budget is below
d + 1, an affine model is fitted to the whole transfer set by convex cross entropy; least squares on logarithms would
invent odds. A budget of exactly d + 1 leaves no query for verification.
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

CHECKED_SHARE = 10  # a fit is verified on at most the remaining budget divided by this number


@dataclass(frozen=True, kw_only=True)
class Check:
    """How well a model predicts the answers to ``rows`` held-out queries; 0 if the budget allowed none."""

    rows: int
    worst: float  # the largest |posterior - released number|
    disagreement: float  # the share of the rows for which it predicts another class


class ExtractionInexact(AttackFault):
    """The answers do not determine a linear model exactly, and ``strict`` rules out an approximate one.

    ``check`` says how far off the solution was, or is None if there was no solution to check.
    """

    def __init__(self, message: str, *, check: Check | None = None) -> None:
        super().__init__(message)
        self.check = check


class SolvedClone(Classifier):
    """The linear clone and its verification; ``inexact`` is why it was fitted, or empty if it was solved exactly."""

    def __init__(self, network: Classifier, *, inexact: str, check: Check) -> None:
        super().__init__(network.body, architecture=network.architecture, task=network.task)
        self.inexact: str = inexact
        self.check: Check = check


@dataclass(frozen=True, kw_only=True, eq=False)
class Affine:
    """The logits x W + b, with weights (d, K) and bias (K,) in float64."""

    weights: Tensor
    bias: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        return inputs.double().flatten(1) @ self.weights + self.bias


@dataclass(frozen=True, kw_only=True)
class EquationSolving(Attack):
    """Stops once ``n_check`` held-out queries agree within ``tolerance``, unless ``spend_all`` is set.

    A fit is verified on as many queries, or on a tenth of what remains if that is less; the result is kept in the
    `SolvedClone`. ``input_scale`` is how far along its axis each of the d + 1 queries lies, and ``design`` how further
    queries are drawn. ``strict`` raises `ExtractionInexact` instead of fitting. ``l2_soft``, ``l2_hard`` (for one-hot
    answers) and ``iterations`` configure the fit.
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
            message = (
                f"input_scale = {self.input_scale} must lie in (0, 1], and n_check = {self.n_check} must be at least 1"
            )
            raise BadParameter(message)

    def extract(self, oracle: Oracle, context: AttackContext, *, rng: Generator) -> SolvedClone:
        """Query the axes and solve; if that is not exact, spend the rest of the budget and fit."""
        transfer_set, held_out = TransferSet(oracle), TransferSet(oracle)
        draw = _Design(context.pool, oracle.task, kind=self.design, rng=rng)
        try:
            model, inexact = self._solved(transfer_set, held_out, draw), ""
            if self.spend_all:
                transfer_set.extend(draw(oracle.remaining))
        except ExtractionInexact as reason:
            if self.strict:
                raise
            inexact = str(reason)
            if not len(held_out):
                held_out.extend(draw(min(self.n_check, oracle.remaining // CHECKED_SHARE)))
            transfer_set.extend(draw(oracle.remaining))
            model = self._fitted(transfer_set, context)
        network = build("linear", oracle.task, rng=rng)
        layer = next(module for module in network.modules() if isinstance(module, nn.Linear))
        with torch.no_grad():
            layer.weight.copy_(model.weights.T)
            layer.bias.copy_(model.bias)
        check = compared(model, *held_out.answered())
        return SolvedClone(network.to(context.device), inexact=inexact, check=check).eval()

    def _solved(self, transfer_set: TransferSet, held_out: TransferSet, draw: _Design) -> Affine:
        """Return the model that the axes determine and the held-out queries confirm, or raise `ExtractionInexact`."""
        columns = math.prod(transfer_set.task.shape)
        if transfer_set.remaining <= columns:
            message = f"{transfer_set.remaining} queries do not determine a linear model of {columns} inputs: "
            raise ExtractionInexact(message + f"it takes {columns + 1}")
        # Verification comes first: if its answers are inexact, queries of the design help a fit more than the axes do.
        held_out.extend(draw(min(self.n_check, held_out.remaining - columns - 1)))
        reason = why_inexact(held_out.released) or why_inexact(
            transfer_set.extend(axes(transfer_set.task, scale=self.input_scale))
        )
        if reason:
            raise ExtractionInexact(reason)
        model = solve(transfer_set.released, scale=self.input_scale)
        check = compared(model, *held_out.answered())
        if check.worst > self.tolerance:
            message = f"the held-out answers differ from the solution by up to {check.worst:.1e}: "
            raise ExtractionInexact(message + "the model is not linear, or it is defended", check=check)
        return model

    def _fitted(self, transfer_set: TransferSet, context: AttackContext) -> Affine:
        inputs, answers = transfer_set.answered()
        inputs, answers = inputs.double(), answers.double()
        weights = torch.zeros(math.prod(transfer_set.task.shape), transfer_set.task.classes, dtype=torch.float64)
        model = Affine(weights=weights.requires_grad_(True), bias=torch.zeros_like(weights[0]).requires_grad_(True))
        penalty = self.l2_hard if looks_one_hot(answers) else self.l2_soft

        def loss() -> Tensor:
            return soft_cross_entropy(model(inputs), answers) + penalty * model.weights.square().sum()

        if len(inputs):
            minimise(loss, [model.weights, model.bias], iterations=self.iterations, time_left=context.time_left)
        return Affine(weights=model.weights.detach(), bias=model.bias.detach())


def axes(task: Task, *, scale: float) -> Tensor:
    """Return the inputs 0, s e_1, ..., s e_d as (d + 1, *shape); their condition number is about d, not d^2."""
    columns = math.prod(task.shape)
    return torch.cat([torch.zeros(1, columns), scale * torch.eye(columns)]).reshape(-1, *task.shape)


def solve(answers: Tensor, *, scale: float) -> Affine:
    """Return the affine model that gave the answers (d + 1, K) to `axes`, with centred rows of weights and bias.

    The softmax determines logits up to a constant for each row, so log p minus its mean over the classes is linear in
    the input. Only ratios of released numbers are used, because 1 - p has no significant digits for a confident victim.
    """
    ratios = answers.double().log()
    ratios = ratios - ratios.mean(dim=1, keepdim=True)
    return Affine(weights=(ratios[1:] - ratios[:1]) / scale, bias=ratios[0])


def why_inexact(answers: Tensor) -> str:
    """Return why no exact solution follows from the answers (N, K), or an empty string if one may."""
    places = decimals(answers)
    if places is not None:
        return f"the answers look rounded to {places} decimals"
    if looks_one_hot(answers):
        return "the answers are hard labels"
    if bool((answers <= 0).any()):
        return f"{int((answers <= 0).sum())} of {answers.numel()} released numbers are 0 and have no logarithm"
    return ""


def compared(model: Affine, inputs: Tensor, answers: Tensor) -> Check:
    """Compare the model with the released rows (N, K) on inputs (N, *shape)."""
    if not len(inputs):
        return Check(rows=0, worst=0.0, disagreement=0.0)
    rows = model(inputs).softmax(dim=1)
    differs = rows.argmax(dim=1) != answers.argmax(dim=1)
    worst = float((rows - answers.double()).abs().max())
    return Check(rows=len(inputs), worst=worst, disagreement=float(differs.double().mean()))


class _Design:
    """Draws queries: uniform rows, pool rows without replacement, or half of each; uniform once the pool is used up."""

    def __init__(self, pool: Tensor, task: Task, *, kind: Literal["mixed", "uniform", "pool"], rng: Generator) -> None:
        self._pool = pool[torch.randperm(len(pool), generator=rng)]
        self._share = {"mixed": 0.5, "uniform": 0.0, "pool": 1.0}[kind]
        self._shape, self._rng = task.shape, rng

    def __call__(self, rows: int) -> Tensor:
        taken, self._pool = self._pool[: int(rows * self._share)], self._pool[int(rows * self._share) :]
        return torch.cat([torch.rand(rows - len(taken), *self._shape, generator=self._rng), taken])
