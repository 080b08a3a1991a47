"""Reconstruct what a class looks like: climb from the mean of the pool to an input of which the clone is certain.

Source: Fredrikson, Jha, Ristenpart, "Model Inversion Attacks that Exploit Confidence Information and Basic
Countermeasures", CCS 2015; the gradient attack on a network, with the clone in the victim's place.
Departures: Adam minimises the cross entropy, which has a slope where 1 - p_c is flat, with penalties on total variation
and L2 norm. There are several starts, and the result with the largest posterior under the clone is kept.
That the victim predicts the class is not enough, because it may do so for noise. Therefore an independent classifier
and the correlation with the mean training input of each class judge the image too, beside controls.
Published number: none on equal terms (the paper asks people). Reproduced: formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from arena.contracts import BadParameter, Count, Oracle, Task, Threat, ThreatContext, ThreatReport
from arena.learning.architectures import untrained_like
from arena.learning.randomness import child
from arena.threats.resemblance import UNTRAINED, Resemblance

_STEPS_PER_CLOCK_CHECK = 32


@dataclass(frozen=True, kw_only=True)
class ModelInversion(Threat):
    """Climbs from ``starts`` points for each class, each the mean of the pool plus Gaussian ``noise``.

    Adam takes ``steps`` steps with rate ``lr``. ``smooth`` and ``small`` are the weights of the total variation and L2
    penalties. The counts are over classes: how often the ``victim`` and the ``judge`` predict the class, and how often
    its mean is the ``nearest`` of all, by correlation. ``echo/`` counts the surest labelled query of each class as it is,
    ``untrained/`` the images from an untrained clone, and ``judge_accuracy`` the judge on natural rows. The measures are
    the correlation with the mean of the class and, on average, with the means of the others.
    """

    needs_gradients: ClassVar[bool] = True

    steps: int = 300
    lr: float = 0.05
    starts: int = 8
    noise: float = 0.1
    smooth: float = 1e-3
    small: float = 1e-4

    def __post_init__(self) -> None:
        if min(self.steps, self.starts) < 1 or min(self.smooth, self.small, self.noise) < 0 or self.lr <= 0:
            message = "steps and starts must be at least 1, lr more than 0, and noise, smooth and small at least 0"
            raise BadParameter(message)

    def min_budget(self, task: Task) -> int:
        return task.classes

    def assess(self, clone: nn.Module, oracle: Oracle, context: ThreatContext, *, rng: Generator) -> ThreatReport:
        """Invert the clone for every class, and query the victim once for each."""
        classes = oracle.task.classes
        wanted = torch.arange(classes)
        middle = context.pool.mean(dim=0) if len(context.pool) else torch.full(oracle.task.shape, 0.5)
        noise = self.noise * torch.randn(classes * self.starts, *oracle.task.shape, generator=rng)
        start = (middle + noise).clamp(0, 1)
        images = self._inverted(clone, start, wanted, context)
        control = self._inverted(untrained_like(clone, oracle.task, rng=child(rng)), start, wanted, context)
        answer = oracle.query(images)
        resemblance = Resemblance(context, oracle.task)
        return ThreatReport(
            counts={
                "victim": Count(int(((answer.posteriors.argmax(dim=1) == wanted) & ~answer.refused).sum()), classes),
                **resemblance.counts(images, wanted),
                **resemblance.counts(control, wanted, prefix=UNTRAINED),
                **resemblance.controls(rows=1),
            },
            measures=resemblance.measures(images, wanted),
            grid=torch.stack([images, resemblance.means]) if images.dim() == 4 else None,
        )

    def _inverted(self, clone: nn.Module, start: Tensor, wanted: Tensor, context: ThreatContext) -> Tensor:
        """Return the image of each class, (K, *shape), of which a clone is most certain after climbing."""
        climbed = self._climb(clone, start, wanted.repeat_interleave(self.starts), context)
        return most_certain(clone, climbed, len(wanted))

    def _loss(self, clone: nn.Module, x: Tensor, classes: Tensor) -> Tensor:
        """Return a sum over images, so that the steps of an image do not depend on the others."""
        unlikely = cross_entropy(clone(x), classes, reduction="sum")
        return unlikely + self.smooth * total_variation(x) + self.small * x.square().sum()

    def _climb(self, clone: nn.Module, start: Tensor, wanted: Tensor, context: ThreatContext) -> Tensor:
        x = start.to(context.device).requires_grad_(True)
        classes = wanted.to(context.device)
        optimiser = torch.optim.Adam([x], lr=self.lr)
        for step in range(self.steps):
            if step % _STEPS_PER_CLOCK_CHECK == 0 and context.time_left() <= 0:
                break
            (x.grad,) = torch.autograd.grad(self._loss(clone, x, classes), x)
            optimiser.step()
            with torch.no_grad():
                x.clamp_(0, 1)
        return x.detach().cpu()


def most_certain(clone: nn.Module, images: Tensor, classes: int) -> Tensor:
    """Return, of S images (K * S, *shape) of each class in order, the one of which the clone is most certain."""
    with torch.no_grad():
        posteriors = clone(images.to(next(clone.parameters()).device)).softmax(dim=1).cpu()
    starts = len(images) // classes
    wanted = torch.arange(classes).repeat_interleave(starts).unsqueeze(1)
    best = posteriors.gather(1, wanted).reshape(classes, starts).argmax(dim=1)
    return images[torch.arange(classes) * starts + best]


def total_variation(images: Tensor) -> Tensor:
    """Return the sum of absolute differences between neighbouring pixels of (N, C, H, W); 0 for table rows (N, d)."""
    if images.dim() != 4:
        return images.new_zeros(())
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().sum()
    return down + (images[..., 1:] - images[..., :-1]).abs().sum()
