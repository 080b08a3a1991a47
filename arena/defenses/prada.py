"""Watch how far each query of an account is from the earlier ones: for natural inputs the distances are near normal.

Source: Juuti, Szyller, Marchal, Asokan, "PRADA: Protecting against DNN Model Stealing Attacks", EuroS&P 2019, arXiv
1805.02628, and the authors' code: a growing set for each predicted class, and a Shapiro-Wilk test every 10 queries.
Departures: An alarm is latched unless ``latched = False``, as in the code. W is computed over the last ``window``
distances. ``growing_cap`` bounds the growing sets by reservoir sampling; without it, the sets and the time for each
query grow with the number of queries, exactly as in the paper.
Published number: no false alarms, and every attack known at the time detected. Reproduced: formula; direction (natural
queries raise no alarm, and synthetic ones do after a while; queries from another data set are natural too, and raise
none).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import shapiro
from torch import Generator, Tensor

from arena.contracts import BadParameter, DefenseContext, State
from arena.defenses.parts.detection import DetectingDefense, Watch
from arena.learning.randomness import child
from arena.learning.tensors import canonical

Floats: TypeAlias = npt.NDArray[np.float64]

LARGEST_WINDOW = 5_000  # the test is valid for up to this many distances
FEW = 10  # a class with fewer distances is left out of the test
FAR = 3.0  # distances more than this many standard deviations from the mean are left out
_ROUNDING = 2.0**-24  # the relative rounding error of float32
_FIRST_ROOM = 64  # rows for which space is allocated first; doubled whenever it is full


@dataclass(frozen=True, kw_only=True)
class Prada(DetectingDefense):
    """Raises an alarm if W < ``delta`` over more than ``least`` distances, tested at every ``every``-th query.

    ``growing_cap`` is the number of rows that an account's growing sets keep in total, in equal shares for each class.
    """

    sweep: ClassVar[tuple[str, tuple[float, ...]] | None] = ("delta", (0.80, 0.85, 0.90, 0.95, 0.97))

    delta: float = 0.9
    least: int = 100
    every: int = 10
    window: int = LARGEST_WINDOW
    growing_cap: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.delta <= 1 or self.every < 1 or (self.growing_cap is not None and self.growing_cap < 1):
            message = (
                f"delta = {self.delta} must lie in [0, 1]; every = {self.every} and growing_cap = {self.growing_cap} "
                "must be at least 1"
            )
            raise BadParameter(message)
        if not FEW <= self.least < self.window <= LARGEST_WINDOW:
            message = (
                f"least = {self.least} must be at least {FEW} and below window = {self.window}, which must be at most "
                f"{LARGEST_WINDOW}"
            )
            raise BadParameter(message)

    @property
    def detection_delay(self) -> int:
        return max(super().detection_delay, self.every * (self.least // self.every + 1) + 1)

    def watches(self, context: DefenseContext, state: State, *, rng: Generator) -> Callable[[], Watch]:
        share = None if self.growing_cap is None else math.ceil(self.growing_cap / context.victim.task.classes)
        return lambda: Distances(
            delta=self.delta,
            least=self.least,
            every=self.every,
            window=self.window,
            cap=share,
            rng=child(rng),
        )


class Distances:
    """The detector of one account. It does not depend on how rows are batched; ``cap`` is for each growing set."""

    def __init__(self, *, delta: float, least: int, every: int, window: int, cap: int | None, rng: Generator) -> None:
        self._delta, self._least, self._every = delta, least, every
        self._cap, self._rng = cap, rng
        self._sets: dict[int, GrowingSet] = {}
        self._last = np.zeros(window)  # the last distances; the oldest is overwritten
        self._classes = np.zeros(window, dtype=np.int64)  # the class of each of them
        self._counts: dict[int, int] = {}  # the number of distances of each class so far
        self._distances = 0
        self._queries = 0
        self._alarm = False

    def __call__(self, inputs: Tensor, posteriors: Tensor) -> Tensor:
        labels = posteriors.argmax(dim=1)
        rows = canonical(inputs).flatten(1)
        distances = {label: self._set(label).meet(rows[labels == label]) for label in labels.unique().tolist()}
        return torch.tensor([self._seen(label, next(distances[label])) for label in labels.tolist()])

    @property
    def normality(self) -> float | None:
        """W of the current distances, or None if there are too few of them or all are equal."""
        kept = self._last[: min(self._distances, len(self._last))]
        classes = self._classes[: len(kept)]
        kept = kept[np.isin(classes, [label for label, count in self._counts.items() if count >= FEW])]
        if len(kept) == 0:
            return None
        kept = kept[np.abs(kept - kept.mean()) < FAR * kept.std()]
        return float(shapiro(kept).statistic) if len(kept) > self._least else None

    def _seen(self, label: int, distance: float | None) -> bool:
        """Return whether the alarm is raised after a row of class ``label`` at a ``distance`` from earlier ones."""
        if distance is not None:
            place = self._distances % len(self._last)
            self._last[place], self._classes[place] = distance, label
            self._counts[label] = self._counts.get(label, 0) + 1
            self._distances += 1
        if self._queries % self._every == 0:
            normality = self.normality
            self._alarm = self._alarm if normality is None else normality < self._delta
        self._queries += 1
        return self._alarm

    def _set(self, label: int) -> GrowingSet:
        return self._sets.setdefault(label, GrowingSet(cap=self._cap, rng=self._rng))


class GrowingSet:
    """Rows of one class that are farther apart than a threshold, which rises with their distances.

    A reservoir of ``cap`` of the inserted rows is kept; None keeps all of them.
    """

    def __init__(self, *, cap: int | None, rng: Generator) -> None:
        self._cap, self._rng = cap, rng
        self._rows = torch.empty(0, 0)  # allocated space, of which the first ``_size`` rows are in use
        self._lengths = torch.empty(0)  # their squared norms
        self._size = 0
        self._inserted = 0
        self._sum, self._squares = 0.0, 0.0  # of the distances at insertion; the first row counts with 0
        self.threshold = 0.0

    def __len__(self) -> int:
        return self._size

    def meet(self, rows: Tensor) -> Iterator[float | None]:
        """Yield the distance from each row (N, d) float32 to the nearest one in the set, or None for the very first.

        A row that is farther than the threshold is inserted before the next one is considered. All distances are
        computed for the whole batch in float32, and those that may be the smallest again in float64.
        """
        old, values, lengths = self._size, rows.numpy(), rows.square().sum(dim=1)
        table = self._squared_distances(rows, lengths)
        columns = np.arange(old + len(rows))  # the column of the table for the row in each place of the set
        slack = 8 * _ROUNDING * rows.shape[1] * float(torch.cat([self._lengths[:old], lengths]).max())
        for number, row in enumerate(values):
            distance = None
            if self._size:
                squared = table[number, columns[: self._size]]
                near = np.flatnonzero(squared <= squared.min() + slack)
                exact = self._rows.numpy()[near].astype(np.float64) - row
                distance = float(np.sqrt(np.square(exact).sum(axis=1).min()))
            if distance is None or distance > self.threshold:
                place = self._insert(rows[number], lengths[number], distance or 0.0)
                if place is not None:
                    columns[place] = old + number
            yield distance

    def _insert(self, row: Tensor, length: Tensor, distance: float) -> int | None:
        """Insert a row, and return its place, or None if it is counted but not kept."""
        self._inserted += 1
        self._sum += distance
        self._squares += distance**2
        mean = self._sum / self._inserted
        spread = max(self._squares / self._inserted - mean**2, 0.0) ** 0.5
        self.threshold = max(self.threshold, mean - spread)
        place = self._size
        if self._cap is not None and self._size == self._cap:
            place = int(torch.randint(self._inserted, (1,), generator=self._rng))
            if place >= self._cap:
                return None
        else:
            self._make_room(len(row))
            self._size += 1
        self._rows[place], self._lengths[place] = row, length
        return place

    def _squared_distances(self, rows: Tensor, lengths: Tensor) -> npt.NDArray[np.float32]:
        """Return squared distances (N, len(self) + N) to the set's rows and to the new ones.

        Their rounding error is at most half the slack.
        """
        products = [rows @ rows.T]
        if self._size:
            products.insert(0, rows @ self._rows[: self._size].T)
        squares = lengths.unsqueeze(1) + torch.cat([self._lengths[: self._size], lengths])
        return (squares - 2 * torch.cat(products, dim=1)).numpy()

    def _make_room(self, width: int) -> None:
        if self._size == len(self._rows):
            rows, lengths = self._rows, self._lengths
            self._rows = torch.empty(max(_FIRST_ROOM, 2 * self._size), width)
            self._lengths = torch.empty(len(self._rows))
            if self._size:
                self._rows[: self._size], self._lengths[: self._size] = rows, lengths
