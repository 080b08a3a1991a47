"""Recover what a class looks like from labels alone: a generator learns which bought inputs the victim gave it to.

Source: Liu, Wang, Ren, Wang, Guo, Qin, Liu, "Unstoppable Attack: Label-Only Model Inversion via Conditional Diffusion
Model", arXiv 2307.08424: label auxiliary inputs by the victim, train a generator conditioned on the label, sample it.
Departures: a conditional variational autoencoder (Sohn, Lee, Yan, NeurIPS 2015) in the place of a diffusion model, which
no CPU trains in a minute; the auxiliary inputs are the transfer set, so nothing is asked to train it; the clone chooses
among the samples. What comes out looks like the attack's queries: with a far pool it is far too, whatever its label.
Published number: none at equal terms. Reproduced: formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from arena.contracts import BadParameter, Oracle, Task, Threat, ThreatContext, ThreatReport
from arena.learning.architectures import drawn_from
from arena.learning.randomness import child
from arena.learning.training import one_hot
from arena.metrics.inversion import class_means, mean_distances

_STEPS_A_LOOK = 32  # at the clock


@dataclass(frozen=True, kw_only=True)
class LabelOnlyInversion(Threat):
    """``latent`` and ``hidden`` are widths of the autoencoder, ``steps`` of ``batch`` rows train it.

    Of ``samples`` a class the clone's ``asked`` surest are asked, fewer if the budget says so. Counts over those, and
    measures, are those of the inversion by gradient.
    """

    latent: int = 16
    hidden: int = 256
    steps: int = 2_000
    batch: int = 64
    lr: float = 1e-3
    samples: int = 64
    asked: int = 8

    def __post_init__(self) -> None:
        if min(self.latent, self.hidden, self.steps, self.batch, self.asked) < 1 or self.samples < self.asked:
            message = "latent, hidden, steps, batch and asked are at least 1, and samples at least asked"
            raise BadParameter(message)

    def min_budget(self, task: Task) -> int:
        return task.classes

    def assess(self, clone: nn.Module, oracle: Oracle, context: ThreatContext, *, rng: Generator) -> ThreatReport:
        """Train on what was bought and answered; sample, choose and ask for every class."""
        inputs, released = context.transfer_set
        answered = released.sum(dim=1) > 0
        if not bool(answered.any()):
            return ThreatReport()
        task, classes = oracle.task, oracle.task.classes
        generate = self._trained(inputs[answered], released[answered].argmax(dim=1), task, context, rng=rng)
        asked = min(self.asked, oracle.remaining // classes)
        images, wanted = self._chosen(clone, generate, task, asked, rng=rng)
        answer = oracle.query(images)
        means = class_means(*context.training, classes=classes)
        distances = mean_distances(images, means)
        own = distances.gather(1, wanted.unsqueeze(1)).squeeze(1)
        others = (distances.sum(dim=1) - own) / max(classes - 1, 1)
        first = images.reshape(classes, asked, *task.shape)
        return ThreatReport(
            counts={
                "victim": (int(((answer.posteriors.argmax(dim=1) == wanted) & ~answer.refused).sum()), len(images)),
                "judge": (int((context.judge(images).argmax(dim=1) == wanted).sum()), len(images)),
                "nearest": (int((distances.argmin(dim=1) == wanted).sum()), len(images)),
                "classes": (len(released[answered].argmax(dim=1).unique()), classes),
            },
            measures={"distance": float(own.mean()), "distance_others": float(others.mean())},
            grid=torch.cat([first.transpose(0, 1), means.unsqueeze(0)]) if len(task.shape) == 3 else None,
        )

    def _trained(
        self, inputs: Tensor, labels: Tensor, task: Task, context: ThreatContext, *, rng: Generator
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """Return latents (N, latent) and classes (N,) to images (N, *shape)."""
        columns, device = math.prod(task.shape), context.device
        with drawn_from(rng):
            encoder = _layers(columns + task.classes, self.hidden, 2 * self.latent).to(device)
            decoder = _layers(self.latent + task.classes, self.hidden, columns).to(device)
        optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=self.lr)
        draws = child(rng)
        flat, given = inputs.flatten(1).to(device), one_hot(labels, task.classes).to(device)
        for step in range(self.steps):
            if step % _STEPS_A_LOOK == 0 and context.time_left() <= 0:
                break
            rows = torch.randint(len(flat), (min(self.batch, len(flat)),), generator=draws)
            mean, log_variance = encoder(torch.cat([flat[rows], given[rows]], dim=1)).chunk(2, dim=1)
            noise = torch.randn(mean.shape, generator=draws).to(device)
            decoded = decoder(torch.cat([mean + (log_variance / 2).exp() * noise, given[rows]], dim=1))
            loss = evidence_bound(decoded, flat[rows], mean, log_variance)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

        @torch.no_grad()
        def generate(latents: Tensor, classes: Tensor) -> Tensor:
            logits = decoder(torch.cat([latents, one_hot(classes, task.classes)], dim=1).to(device))
            images: Tensor = logits.sigmoid().cpu().reshape(-1, *task.shape)
            return images

        return generate

    def _chosen(
        self, clone: nn.Module, generate: Callable[[Tensor, Tensor], Tensor], task: Task, asked: int, *, rng: Generator
    ) -> tuple[Tensor, Tensor]:
        """Return ``asked`` images a class, in the order of classes, and their classes."""
        wanted = torch.arange(task.classes).repeat_interleave(self.samples)
        images = generate(torch.randn(len(wanted), self.latent, generator=rng), wanted)
        with torch.no_grad():
            posteriors = clone(images.to(next(clone.parameters()).device)).softmax(dim=1).cpu()
        certain = posteriors.gather(1, wanted.unsqueeze(1)).reshape(task.classes, self.samples)
        best = certain.argsort(dim=1, descending=True, stable=True)[:, :asked]
        rows = (torch.arange(task.classes).unsqueeze(1) * self.samples + best).flatten()
        return images[rows], wanted[rows]


def evidence_bound(decoded: Tensor, inputs: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the negative bound per row: cross entropy of pixels (N, d) given as logits, plus KL(N(m, s^2) || N(0, 1))."""
    told = binary_cross_entropy_with_logits(decoded, inputs, reduction="sum")
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
    return (told + divergence) / len(inputs)


def _layers(columns: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(columns, hidden), nn.ReLU(), nn.Linear(hidden, out))
