"""Reconstruct what a class looks like from hard labels: a generator learns the queries that received each label.

Source: Liu, Wang, Ren, Wang, Guo, Qin, Liu, "Unstoppable Attack: Label-Only Model Inversion via Conditional Diffusion
Model", arXiv 2307.08424: label auxiliary inputs by the victim, train a generator conditioned on the label, sample it.
Departures: A conditional variational autoencoder (Sohn, Lee, Yan, NeurIPS 2015) replaces the diffusion model, which no
CPU trains within a minute. The auxiliary inputs are the transfer set, so training costs no queries. The clone chooses
among the samples. The results look like the attack's queries: with a pool far from the victim's data, they are far from
it too, whatever their label.
Published number: none on equal terms. Reproduced: formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from arena.contracts import BadParameter, Count, Oracle, Task, Threat, ThreatContext, ThreatReport
from arena.learning.architectures import drawn_from, untrained_like
from arena.learning.randomness import child
from arena.learning.training import one_hot
from arena.threats.resemblance import UNTRAINED, Resemblance

_STEPS_PER_CLOCK_CHECK = 32


@dataclass(frozen=True, kw_only=True)
class LabelOnlyInversion(Threat):
    """``latent`` and ``hidden`` are widths of the autoencoder, which trains for ``steps`` steps on ``batch`` rows each.

    Of ``samples`` for each class, the ``asked`` of which the clone is most certain are queried, or fewer if the budget
    is too small. Counts, over these queries, and measures are those of the gradient-based inversion.
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
            message = "latent, hidden, steps, batch and asked must be at least 1, and samples at least asked"
            raise BadParameter(message)

    def min_budget(self, task: Task) -> int:
        return task.classes

    def assess(self, clone: nn.Module, oracle: Oracle, context: ThreatContext, *, rng: Generator) -> ThreatReport:
        """Train on the answered rows of the transfer set; then sample, choose and query for every class."""
        inputs, released = context.transfer_set
        answered = released.sum(dim=1) > 0
        if not bool(answered.any()):
            return ThreatReport()
        task, classes = oracle.task, oracle.task.classes
        generate = self._trained(inputs[answered], released[answered].argmax(dim=1), task, context, rng=rng)
        asked = min(self.asked, oracle.remaining // classes)
        sampled = torch.randn(classes * self.samples, self.latent, generator=rng)
        images, wanted = self._chosen(clone, generate, task, asked, sampled)
        control, _ = self._chosen(untrained_like(clone, task, rng=child(rng)), generate, task, asked, sampled)
        answer = oracle.query(images)
        resemblance = Resemblance(context, task)
        by_class = images.reshape(classes, asked, *task.shape)
        return ThreatReport(
            counts={
                "victim": Count(
                    int(((answer.posteriors.argmax(dim=1) == wanted) & ~answer.refused).sum()), len(images)
                ),
                **resemblance.counts(images, wanted),
                **resemblance.counts(control, wanted, prefix=UNTRAINED),
                **resemblance.controls(rows=asked),
                "classes": Count(len(released[answered].argmax(dim=1).unique()), classes),
            },
            measures=resemblance.measures(images, wanted),
            grid=torch.cat([by_class.transpose(0, 1), resemblance.means.unsqueeze(0)])
            if len(task.shape) == 3
            else None,
        )

    def _trained(
        self, inputs: Tensor, labels: Tensor, task: Task, context: ThreatContext, *, rng: Generator
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """Train the autoencoder; return a function from latents (N, latent) and classes (N,) to images (N, *shape)."""
        columns, device = math.prod(task.shape), context.device
        with drawn_from(rng):
            encoder = _layers(columns + task.classes, self.hidden, 2 * self.latent).to(device)
            decoder = _layers(self.latent + task.classes, self.hidden, columns).to(device)
        optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=self.lr)
        draws = child(rng)
        flat, conditions = inputs.flatten(1).to(device), one_hot(labels, task.classes).to(device)
        for step in range(self.steps):
            if step % _STEPS_PER_CLOCK_CHECK == 0 and context.time_left() <= 0:
                break
            rows = torch.randint(len(flat), (min(self.batch, len(flat)),), generator=draws)
            mean, log_variance = encoder(torch.cat([flat[rows], conditions[rows]], dim=1)).chunk(2, dim=1)
            noise = torch.randn(mean.shape, generator=draws).to(device)
            decoded = decoder(torch.cat([mean + (log_variance / 2).exp() * noise, conditions[rows]], dim=1))
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
        self, clone: nn.Module, generate: Callable[[Tensor, Tensor], Tensor], task: Task, asked: int, sampled: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return ``asked`` images of each class in order, of those from latents (K * samples, latent), and the classes."""
        wanted = torch.arange(task.classes).repeat_interleave(self.samples)
        images = generate(sampled, wanted)
        with torch.no_grad():
            posteriors = clone(images.to(next(clone.parameters()).device)).softmax(dim=1).cpu()
        certain = posteriors.gather(1, wanted.unsqueeze(1)).reshape(task.classes, self.samples)
        best = certain.argsort(dim=1, descending=True, stable=True)[:, :asked]
        rows = (torch.arange(task.classes).unsqueeze(1) * self.samples + best).flatten()
        return images[rows], wanted[rows]


def evidence_bound(decoded: Tensor, inputs: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the negative evidence lower bound per row: cross entropy of pixels (N, d) plus KL(N(m, s^2) || N(0, 1)).

    ``decoded`` (N, d) are the pixels' logits.
    """
    reconstruction = binary_cross_entropy_with_logits(decoded, inputs, reduction="sum")
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
    return (reconstruction + divergence) / len(inputs)


def _layers(columns: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(columns, hidden), nn.ReLU(), nn.Linear(hidden, out))
