"""The clone recipe, by which the referee trains on a transcript and attacks train on their transfer sets.

Source: ordinary distillation of soft labels. The constants were chosen on Fashion-MNIST, where the learning rate and
the number of steps change a clone's scores by more points than most attacks do. Nobody may win by training longer:
every clone of the referee and of a built-in attack starts afresh and takes the same steps for the same rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from arena.learning.compact import at
from arena.learning.training import fit, predict

MIN_STEPS, MAX_STEPS = 4_000, 12_000
"""On far pools the fidelity still rises after 2,000 steps: Knockoff on digits, 400 rows, 5 seeds: 78.9 % after 2,000 steps,
85.9 % after 4,000, and 87.9 % after 8,000."""
LOG_FLOOR = 1e-7
_ROWS_AT_ONCE = 2**14  # whose divergence is taken together: a multiple of the padded sizes, so that no bit changes


def recipe_steps(rows: int) -> int:
    """Return the number of training steps for ``rows`` rows: 64 passes, but at least 4,000 and at most 12,000 steps."""
    return min(max(MIN_STEPS, rows), MAX_STEPS)


def distil(
    clone: nn.Module,
    inputs: Tensor,
    released: Tensor,
    *,
    rng: Generator,
    steps: int | None = None,
    time_left: Callable[[], float] | None = None,
    penalty: Callable[[int, Tensor], Tensor] | None = None,
) -> nn.Module:
    """Train ``clone`` in place on inputs (N, *shape) and released rows (N, K), and return it in eval mode.

    Adam with rate 3e-3 and cosine decay, batches of 64, no model selection and no augmentation. ``steps`` defaults to
    `recipe_steps`. When ``time_left`` runs out, training ends early. ``penalty`` is that of
    `arena.learning.training.fit`.
    """
    steps = steps or recipe_steps(len(inputs))
    fit(clone, inputs, released, steps=steps, rng=rng, time_left=time_left, penalty=penalty)
    return clone.eval()


def mean_divergence(clone: nn.Module, inputs: Tensor, released: Tensor) -> float:
    """Return the mean KL(released row || clone), in nats, over the rows that were not refused; 0 if there are none."""
    answered = (released.sum(dim=1) > 0).nonzero().flatten()
    if not len(answered):
        return 0.0
    divergences = []
    for chosen in answered.split(_ROWS_AT_ONCE):
        rows = released[chosen].double()
        log_clone = predict(clone, at(inputs, chosen)).double().clamp(min=LOG_FLOOR).log()
        divergences.append((torch.xlogy(rows, rows) - rows * log_clone).sum(dim=1))
    return float(torch.cat(divergences).mean())
