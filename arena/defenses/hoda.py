"""Detect attackers by how hard their queries are to learn: natural inputs have a different histogram of hardness.

Source: Sadeghzadeh, Sobhanian, Dehghan, Jalili, "HODA: Hardness-Oriented Detection of Model Extraction Attacks", IEEE
Transactions on Information Forensics and Security, arXiv 2106.11424, and the authors' code for the hardness degree: the
first snapshot of a training run from which on all snapshots agree on the input's class.
Departures: Victims come without snapshots, so the defender trains a network of the victim's architecture to get them.
The normal histogram is that of the validation rows. The threshold is the largest distance from it among ``sequences``
random sequences that are drawn from it. The histogram of an account's last ``window`` rows is compared after each row.
Published number: attacks detected from 100 rows on. Reproduced: formula; direction (queries from other data sets are
detected within a window, and synthetic ones soon after; noise that the victim assigns to one class is easy, and is not
detected).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from arena.contracts import BadParameter, DefenseContext, State
from arena.defenses.parts.defender_networks import network_like_victim, restored, stored
from arena.defenses.parts.detection import DetectingDefense, Watch
from arena.learning.randomness import child
from arena.learning.training import descent, one_hot, predict

NORMAL = "normal"  # the name of the validation rows' hardness degrees in the state
_NOTHING = 1e-12  # a histogram with a smaller spread counts as flat


@dataclass(frozen=True, kw_only=True)
class Hoda(DetectingDefense):
    """Takes ``snapshots`` at even intervals of a training run of ``steps``; hardness runs from 0 to snapshots - 1.

    ``window`` is how many of an account's last rows are compared with the normal histogram.
    """

    trained_by: ClassVar[frozenset[str]] = frozenset({"snapshots", "steps"})
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("window", (50, 100, 200, 500))

    snapshots: int = 11
    window: int = 100
    sequences: int = 40_000
    steps: int = 2_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.snapshots <= self.steps or self.window < 1 or self.sequences < 1:
            message = (
                f"snapshots = {self.snapshots} must lie between 2 and steps = {self.steps}; window = {self.window} and "
                f"sequences = {self.sequences} must be at least 1"
            )
            raise BadParameter(message)

    @property
    def detection_delay(self) -> int:
        return max(super().detection_delay, self.window)

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        """Train the snapshots, and measure the hardness degrees of the validation rows."""
        network = network_like_victim(context, rng=rng)
        inputs, labels = (part.to(context.device) for part in context.training)
        due = [self.steps * (number + 1) // self.snapshots for number in range(self.snapshots)]
        state: dict[str, Tensor] = {}

        def backward(chosen: Tensor) -> None:
            cross_entropy(network(inputs[chosen]), labels[chosen]).backward()

        for step in descent(network, backward, rows=len(inputs), steps=self.steps, rng=child(rng)):
            if step in due:
                state |= stored(network, _name(due.index(step)))
        validation, _ = context.validation
        if len(inputs) == 0 or len(validation) == 0:
            message = "hoda needs training rows to learn from and validation rows to define what is normal"
            raise BadParameter(message)
        normal = hardness(self._networks(context, state), validation)
        return {**super().train(context, rng=child(rng)), **state, NORMAL: normal}

    def watches(self, context: DefenseContext, state: State, *, rng: Generator) -> Callable[[], Watch]:
        networks = self._networks(context, state)
        normal = state[NORMAL].bincount(minlength=self.snapshots).double()
        threshold = largest_distance(normal, window=self.window, sequences=self.sequences, rng=rng)
        return lambda: Histogram(networks, normal, window=self.window, threshold=threshold)

    def _networks(self, context: DefenseContext, state: State) -> list[nn.Module]:
        return [restored(state, _name(number), context) for number in range(self.snapshots)]


class Histogram:
    """The detector of one account: it compares the hardness degrees of the last rows with the normal histogram."""

    def __init__(self, networks: list[nn.Module], normal: Tensor, *, window: int, threshold: float) -> None:
        self._networks, self._normal = networks, normal
        self._window, self._threshold = window, threshold
        self._last = torch.empty(0, dtype=torch.int64)  # degrees of the last window - 1 rows

    def __call__(self, inputs: Tensor, posteriors: Tensor) -> Tensor:
        before = len(self._last)
        degrees = torch.cat([self._last, hardness(self._networks, inputs)])
        self._last = degrees[max(0, len(degrees) - self._window + 1) :]
        cumulative = torch.cat([torch.zeros(1, len(self._normal)), one_hot(degrees, len(self._normal))]).cumsum(dim=0)
        ends = torch.arange(before, len(degrees)) + 1
        counts = cumulative[ends] - cumulative[(ends - self._window).clamp(min=0)]
        return (pearson_distance(counts, self._normal) > self._threshold) & (ends >= self._window)


def hardness(networks: list[nn.Module], inputs: Tensor) -> Tensor:
    """Return the hardness degree (N,) int64 of each input; 0 if all networks agree with the last one."""
    labels = torch.stack([predict(network, inputs).argmax(dim=1) for network in networks])
    differs = labels != labels[-1]
    place = torch.arange(1, len(networks) + 1).unsqueeze(1)
    return (differs * place).amax(dim=0)


def pearson_distance(counts: Tensor, normal: Tensor) -> Tensor:
    """Return 1 - the correlation of each of N histograms (N, B) with ``normal`` (B,), float64; 1 if either is flat."""
    one, other = counts.double(), normal.double()
    one, other = one - one.mean(dim=1, keepdim=True), other - other.mean()
    lengths = one.norm(dim=1) * other.norm()
    return 1 - torch.where(lengths > _NOTHING, one @ other / lengths.clamp(min=_NOTHING), 0.0)


def largest_distance(normal: Tensor, *, window: int, sequences: int, rng: Generator) -> float:
    """Draw ``sequences`` samples of ``window`` rows from a histogram, and return their largest distance from it."""
    degrees = torch.multinomial(normal, sequences * window, replacement=True, generator=rng).reshape(sequences, window)
    counts = torch.zeros(sequences, len(normal)).scatter_add_(1, degrees, torch.ones(sequences, window))
    return float(pearson_distance(counts, normal).max())


def _name(number: int) -> str:
    return f"snapshot-{number}"
