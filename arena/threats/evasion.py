"""Craft adversarial examples on the clone, and test whether they fool the victim from which it was stolen.

Source: FGSM: Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015, arXiv 1412.6572;
PGD: Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR
2018, arXiv 1706.06083; transfer from a stolen model: Papernot et al., ASIA CCS 2017, arXiv 1602.02697.
Departures: Only rows that the defended victim classifies correctly are attacked. Each success rate has a control,
random signs of the same size, because with a large epsilon noise alone fools a small network. If the examples do not
even fool the clone, they say nothing about the victim; ``.../clone`` counts how often they do.
Published number: none on equal terms. Reproduced: formula; direction (targeted below untargeted, above the control).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from arena.contracts import BadParameter, Count, Oracle, Task, Threat, ThreatContext, ThreatReport
from arena.learning.input_gradients import input_gradient

SHOWN = 8  # images in the grid
VARIANTS = 5  # queries for one image and epsilon: both methods with and without a target, and the control


@dataclass(frozen=True, kw_only=True)
class EvasionTransfer(Threat):
    """``epsilons`` are the sizes of perturbations of inputs in [0, 1]; PGD takes ``steps``, each of epsilon / 8.

    Counts are (fooled, attacked) under the names ``EPSILON/fgsm``, ``EPSILON/pgd``, ``EPSILON/fgsm-targeted`` and
    ``EPSILON/pgd-targeted``; those of the control are ``EPSILON/control`` and ``EPSILON/control-targeted``.
    ``step_share`` is the size of a PGD step as a share of epsilon.
    """

    needs_gradients: ClassVar[bool] = True

    epsilons: tuple[float, ...] = (0.05, 0.1)
    steps: int = 20
    step_share: float = 0.125

    def __post_init__(self) -> None:
        if not self.epsilons or not all(0 < epsilon <= 1 for epsilon in self.epsilons) or self.steps < 1:
            message = f"epsilons = {self.epsilons} must lie in (0, 1], and steps = {self.steps} must be at least 1"
            raise BadParameter(message)

    def min_budget(self, task: Task) -> int:
        """Return what one image costs: a query for the original, and one for each variant."""
        return 1 + VARIANTS * len(self.epsilons)

    def assess(self, clone: nn.Module, oracle: Oracle, context: ThreatContext, *, rng: Generator) -> ThreatReport:
        inputs, labels = context.test
        rows = torch.randperm(len(inputs), generator=rng)[: oracle.remaining // self.min_budget(oracle.task)]
        answer = oracle.query(inputs[rows])
        right = (answer.posteriors.argmax(dim=1) == labels[rows]) & ~answer.refused
        x, y = inputs[rows][right], labels[rows][right]
        counts = {"attacked": Count(len(x), len(rows))}
        if not len(x):
            return ThreatReport(counts=counts)
        targets = (y + torch.randint(1, oracle.task.classes, y.shape, generator=rng)) % oracle.task.classes
        grid_rows = [x]
        for epsilon in self.epsilons:
            crafted = {
                "fgsm": fgsm(clone, x, y, epsilon=epsilon, towards=False),
                "pgd": self._pgd(clone, x, y, epsilon=epsilon, towards=False, rng=rng),
                "fgsm-targeted": fgsm(clone, x, targets, epsilon=epsilon, towards=True),
                "pgd-targeted": self._pgd(clone, x, targets, epsilon=epsilon, towards=True, rng=rng),
            }
            for name, examples in crafted.items():
                wanted = targets if name.endswith("targeted") else None
                counts[f"{epsilon:g}/{name}"] = fooled(_labels(oracle, examples), y, targets=wanted)
            signs = 2.0 * torch.randint(2, x.shape, generator=rng) - 1
            control = _labels(oracle, (x + epsilon * signs).clamp(0, 1))
            counts[f"{epsilon:g}/control"] = fooled(control, y)
            counts[f"{epsilon:g}/control-targeted"] = fooled(control, y, targets=targets)
            counts[f"{epsilon:g}/clone"] = fooled(_clone_labels(clone, crafted["pgd"]), _clone_labels(clone, x))
            grid_rows.append(crafted["pgd"])
        grid = torch.stack([images[:SHOWN] for images in grid_rows]) if x.dim() == 4 else None
        return ThreatReport(counts=counts, grid=grid)

    def _pgd(
        self, clone: nn.Module, inputs: Tensor, classes: Tensor, *, epsilon: float, towards: bool, rng: Generator
    ) -> Tensor:
        start = (inputs + epsilon * (2 * torch.rand(inputs.shape, generator=rng) - 1)).clamp(0, 1)
        moved, step = start, epsilon * self.step_share
        for _ in range(self.steps):
            stepped = fgsm(clone, moved, classes, epsilon=step, towards=towards)
            moved = torch.minimum(torch.maximum(stepped, inputs - epsilon), inputs + epsilon).clamp(0, 1)
        return moved


def fgsm(clone: nn.Module, inputs: Tensor, classes: Tensor, *, epsilon: float, towards: bool) -> Tensor:
    """Return clip(x + epsilon sign(g), 0, 1), where g raises the clone's loss at classes (N,).

    With ``towards``, g lowers the loss instead.
    """
    signs = input_gradient(clone, inputs, classes, direction="loss").sign()
    return (inputs + (-epsilon if towards else epsilon) * signs).clamp(0, 1)


def fooled(found: Tensor, labels: Tensor, *, targets: Tensor | None = None) -> Count:
    """Count the rows whose ``found`` label differs from ``labels`` or, given ``targets``, equals the target.

    A label of -1 stands for a refused row, which is not fooled. All labels are (N,).
    """
    hits = (found != labels) & (found >= 0) if targets is None else found == targets
    return Count(int(hits.sum()), len(labels))


def _labels(oracle: Oracle, inputs: Tensor) -> Tensor:
    answer = oracle.query(inputs)
    return answer.posteriors.argmax(dim=1).where(~answer.refused, -1)


def _clone_labels(clone: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        labels: Tensor = clone(inputs.to(next(clone.parameters()).device)).argmax(dim=1).cpu()
    return labels
