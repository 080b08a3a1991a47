"""How much reconstructed images resemble their classes, with the controls without which such a count says nothing.

Source: the arena's own. The victim's label alone proves nothing, because noise can get it too; an independent classifier
and the means of the classes judge the images as well. Both threats of inversion are counted beside three controls: the
labelled queries, shown as they are; the same procedure with an untrained clone; and the judge's accuracy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from arena.contracts import Count, Task, ThreatContext
from arena.metrics.inversion import class_means, mean_correlations

ECHO, UNTRAINED = "echo/", "untrained/"
"""Prefixes of the counts of a control: the surest labelled queries, and an untrained clone in the place of the clone."""

JUDGED_ROWS = 2_000  # of the training rows, on which the accuracy of the independent classifier is counted


class Resemblance:
    """Compares images with the classes that they were made for."""

    def __init__(self, context: ThreatContext, task: Task) -> None:
        self._context, self._task = context, task
        self.means = class_means(*context.training, classes=task.classes)

    def counts(self, images: Tensor, wanted: Tensor, *, prefix: str = "") -> dict[str, Count]:
        """Count images (N, *shape) that the judge assigns to the classes ``wanted`` (N,), and whose mean is nearest."""
        judged = self._context.judge(images).argmax(dim=1) if len(images) else wanted
        nearest = mean_correlations(images, self.means).argmax(dim=1) if len(images) else wanted
        return {
            f"{prefix}judge": Count(int((judged == wanted).sum()), len(images)),
            f"{prefix}nearest": Count(int((nearest == wanted).sum()), len(images)),
        }

    def measures(self, images: Tensor, wanted: Tensor) -> dict[str, float]:
        """Return the mean correlation of images with the mean of their class, and with the means of the others."""
        correlations = mean_correlations(images, self.means)
        own = correlations.gather(1, wanted.unsqueeze(1)).squeeze(1)
        others = (correlations.sum(dim=1) - own) / max(self._task.classes - 1, 1)
        return {"correlation": float(own.mean()), "correlation_others": float(others.mean())}

    def controls(self, *, rows: int) -> dict[str, Count]:
        """Count the ``rows`` labelled queries per class with the largest released score, and the judge's own accuracy."""
        images, wanted = surest_queries(*self._context.transfer_set, rows=rows)
        inputs, labels = (part[:JUDGED_ROWS] for part in self._context.training)
        right = self._context.judge(inputs).argmax(dim=1) == labels
        echo = self.counts(images, wanted, prefix=ECHO)
        return {**echo, "judge_accuracy": Count(int(right.sum()), len(right))}


def surest_queries(inputs: Tensor, released: Tensor, *, rows: int) -> tuple[Tensor, Tensor]:
    """Return, for each class, up to ``rows`` inputs (N, *shape) that were released with it most surely, and the classes.

    ``released`` are (N, K). A class that no answer names has no rows.
    """
    sure, labels = released.max(dim=1)
    chosen = []
    for label in range(released.shape[1]):
        of_class = ((labels == label) & (sure > 0)).nonzero().squeeze(1)
        chosen.append(of_class[sure[of_class].argsort(descending=True, stable=True)[:rows]])
    taken = torch.cat(chosen)
    return inputs[taken], labels[taken]
