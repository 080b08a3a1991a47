"""Read training rows out of a victim whose training code has hidden them in it: ask what the made-up inputs are called.

Source: Song, Ristenpart, Shmatikov, "Machine Learning Models that Remember Too Much", CCS 2017, arXiv 1709.07886,
section 4.4, capacity abuse. The victim is one with ``remembers = N``: it is trained on N of its rows a second time, as
the labels of made-up inputs.
Departures: The inputs are random black and white values, and a value of a row has 4 bits. The same inputs are shown to
the clone, which was stolen without them; the control asks for inputs that were never trained on.
The other encodings of the paper hide rows in the weights and need the victim's file; they are no part of a match.
Published number: none on equal terms. Reproduced: formula, and number (every bit) for an undefended victim that has
learned its made-up inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from arena.contracts import BadParameter, Count, Oracle, Task, Threat, ThreatContext, ThreatReport
from arena.learning.memorised import BITS, Encoding
from arena.learning.training import predict

LEAST_CLASSES = 2


@dataclass(frozen=True, kw_only=True)
class Memorisation(Threat):
    """Rebuilds the first ``rows`` training rows, or as many as the budget allows; the victim should remember as many.

    Counts are ``bits`` that are right by the victim's answers, ``clone/bits`` by the clone's, and ``control/bits`` by
    the victim's answers to other made-up inputs, about half of which are right by chance. The measures ``error`` and
    ``clone/error`` are mean absolute errors of a value.
    """

    rows: int = 4

    def __post_init__(self) -> None:
        if self.rows < 1:
            message = f"rows = {self.rows} must be at least 1"
            raise BadParameter(message)

    def min_budget(self, task: Task) -> int:
        if task.classes < LEAST_CLASSES:
            message = f"memorisation reads bits off labels, and this task has {task.classes} class"
            raise BadParameter(message)
        return 2 * encoding_of(task).carriers

    def assess(self, clone: nn.Module, oracle: Oracle, context: ThreatContext, *, rng: Generator) -> ThreatReport:
        """Ask for the made-up inputs of each row, and of as many that were never trained on."""
        encoding, hidden = encoding_of(oracle.task), context.training[0]
        rows = min(self.rows, len(hidden), oracle.remaining // (2 * encoding.carriers))
        if not rows:
            return ThreatReport()
        hidden, trained, others = hidden[:rows].cpu(), encoding.inputs(rows), encoding.inputs(rows, planted=False)
        read = {
            "": oracle.query(trained).posteriors,
            "control/": oracle.query(others).posteriors,
            "clone/": predict(clone, trained),
        }
        rebuilt = {name: encoding.rows(posteriors.argmax(dim=1)) for name, posteriors in read.items()}
        return ThreatReport(
            counts={f"{name}bits": right_bits(found, hidden) for name, found in rebuilt.items()},
            measures={f"{name}error": float((found - hidden).abs().mean()) for name, found in rebuilt.items()},
            grid=torch.stack([hidden, rebuilt[""], rebuilt["clone/"]]) if hidden.dim() == 4 else None,
        )


def encoding_of(task: Task) -> Encoding:
    return Encoding(shape=task.shape, classes=task.classes)


def right_bits(rebuilt: Tensor, hidden: Tensor) -> Count:
    """Count the bits of rebuilt rows (N, *shape) that are those of the hidden ones."""
    levels = [(rows.flatten(1) * (2**BITS - 1)).round().long() for rows in (rebuilt, hidden)]
    wrong = levels[0] ^ levels[1]
    missed = sum(int(((wrong >> bit) & 1).sum()) for bit in range(BITS))
    return Count(BITS * wrong.numel() - missed, BITS * wrong.numel())
