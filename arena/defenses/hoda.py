"""Detect attackers by how hard their queries are to learn: natural inputs have a different histogram of hardness.

Source: Sadeghzadeh, Sobhanian, Dehghan, Jalili, "HODA: Hardness-Oriented Detection of Model Extraction Attacks", IEEE
Transactions on Information Forensics and Security, arXiv 2106.11424, and the authors' code for the hardness degree: the
first snapshot of a training run from which on all snapshots agree on the input's class.
Departures: Victims come without snapshots, so the defender trains a network of the victim's architecture to get them.
The normal histogram is that of training rows that are held out of that run. The threshold is
the largest distance from it among ``sequences`` random sequences that are drawn from it. The histogram of an account's
last ``window`` rows is compared after each row, where the paper compares disjoint sequences.
Facts of the result: ``threshold``, ``calibration_rows``, and ``benign_sequences_suspected``, the share of random
sequences of validation rows that lie beyond the threshold.
Published number: attacks detected from 100 rows on. Reproduced: formula; direction (queries from other data sets are
detected within a window, and synthetic ones soon after; noise that the victim assigns to one class is easy, and is not
detected).
"""

from __future__ import annotations

import copy
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

NORMAL, BENIGN = "normal", "benign"  # the names of the training and validation rows' hardness degrees in the state
BENIGN_SEQUENCES = 1_000  # random sequences of validation rows that are compared with the threshold
_NOTHING = 1e-12  # a histogram with a smaller spread counts as flat


@dataclass(frozen=True, kw_only=True)
class Hoda(DetectingDefense):
    """Takes ``snapshots`` at even intervals of a training run of ``steps``; hardness runs from 0 to snapshots - 1.

    ``window`` is how many of an account's last rows are compared with the normal histogram. That is of
    a share ``held`` of the training rows, from which the snapshots do not learn.
    """

    trained_by: ClassVar[frozenset[str]] = frozenset({"held", "snapshots", "steps"})
    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("window", (50, 100, 200, 500))

    snapshots: int = 11
    window: int = 100
    sequences: int = 40_000
    held: float = 0.5
    steps: int = 2_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.snapshots <= self.steps or self.window < 1 or self.sequences < 1 or not 0 < self.held < 1:
            message = (
                f"snapshots = {self.snapshots} must lie between 2 and steps = {self.steps}; window = {self.window} and "
                f"sequences = {self.sequences} must be at least 1, and held = {self.held} between 0 and 1"
            )
            raise BadParameter(message)

    @property
    def detection_delay(self) -> int:
        return max(super().detection_delay, self.window)

    def train(self, context: DefenseContext, *, rng: Generator) -> State:
        """Train the snapshots, and measure the hardness degrees of benign rows that they have not learnt from."""
        inputs, labels = context.training
        if len(inputs) < 2:
            message = "hoda needs training rows, from which it learns what is normal"
            raise BadParameter(message)
        size = max(1, int(self.held * len(inputs)))
        held, learnt = torch.randperm(len(inputs), generator=child(rng)).split([size, len(inputs) - size])
        networks = self._snapshots(context, inputs[learnt], labels[learnt], rng=rng)
        state = {key: value for number, one in enumerate(networks) for key, value in stored(one, _name(number)).items()}
        normal = hardness(networks, inputs[held])
        validation, _ = context.validation
        benign = hardness(networks, validation) if len(validation) else torch.empty(0, dtype=torch.int64)
        return {**super().train(context, rng=child(rng)), **state, NORMAL: normal, BENIGN: benign}

    def watches(self, context: DefenseContext, state: State, *, rng: Generator) -> Callable[[], Watch]:
        networks = [restored(state, _name(number), context) for number in range(self.snapshots)]
        normal, benign = (state[name].bincount(minlength=self.snapshots).double() for name in (NORMAL, BENIGN))
        drawn = sequences_from(normal, window=self.window, sequences=self.sequences, rng=rng)
        threshold = float(pearson_distance(drawn, normal).max())
        context.note("calibration_rows", len(state[NORMAL]))
        context.note("threshold", threshold)
        if len(state[BENIGN]):
            drawn = sequences_from(benign, window=self.window, sequences=BENIGN_SEQUENCES, rng=rng)
            suspected = pearson_distance(drawn, normal) > threshold
            context.note("benign_sequences_suspected", float(suspected.float().mean()))
        return lambda: Histogram(networks, normal, window=self.window, threshold=threshold)

    def _snapshots(self, context: DefenseContext, inputs: Tensor, labels: Tensor, *, rng: Generator) -> list[nn.Module]:
        """Return the snapshots of a training run of a `network_like_victim`, in eval mode."""
        network = network_like_victim(context, rng=rng)
        inputs, labels = inputs.to(context.device), labels.to(context.device)
        due = {self.steps * (number + 1) // self.snapshots for number in range(self.snapshots)}

        def backward(chosen: Tensor) -> None:
            cross_entropy(network(inputs[chosen]), labels[chosen]).backward()

        run = descent(network, backward, rows=len(inputs), steps=self.steps, rng=child(rng))
        return [copy.deepcopy(network).eval() for step in run if step in due]


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


def sequences_from(histogram: Tensor, *, window: int, sequences: int, rng: Generator) -> Tensor:
    """Draw ``sequences`` samples of ``window`` rows from a histogram (B,), and return theirs, (sequences, B)."""
    degrees = torch.multinomial(histogram, sequences * window, replacement=True, generator=rng)
    degrees = degrees.reshape(sequences, window)
    return torch.zeros(sequences, len(histogram)).scatter_add_(1, degrees, torch.ones(sequences, window))


def _name(number: int) -> str:
    return f"snapshot-{number}"
