"""Watch how far each query of an account is from those before it: to natural inputs these distances are near normal.

Source: Juuti, Szyller, Marchal, Asokan, "PRADA: Protecting against DNN Model Stealing Attacks", EuroS&P 2019, arXiv
1805.02628, and the authors' code: a growing set for each predicted class, a Shapiro-Wilk test every 10 queries.
Departures: an alarm is latched unless ``latched = False``, as in the code. W is taken over the last ``window``
distances. ``growing_cap`` bounds the growing sets by reservoirs; without it they, and the time for a query, grow with
the queries, exactly as in the paper.
Published number: no false alarm, and every attack then known detected. Reproduced: formula; direction (natural queries
raise no alarm, synthetic ones in time; queries from another data set are natural too, and raise none).
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

LARGEST_WINDOW = 5_000  # distances for which the test is made
FEW = 10  # distances of a class: with fewer it is left out of the test
FAR = 3.0  # standard deviations from the mean: farther distances are left out
_ROUNDING = 2.0**-24  # of float32
_FIRST_ROOM = 64  # rows; doubled whenever it is full


@dataclass(frozen=True, kw_only=True)
class Prada(DetectingDefense):
    """An alarm is W < ``delta`` over more than ``least`` distances, tested at every ``every``-th query of an account.

    ``growing_cap`` is how many rows an account's growing sets keep in all, in equal shares of the classes.
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
                f"delta = {self.delta}, every = {self.every}, growing_cap = {self.growing_cap}: delta is 0 to 1, the "
                "others at least 1"
            )
            raise BadParameter(message)
        if not FEW <= self.least < self.window <= LARGEST_WINDOW:
            message = (
                f"least = {self.least}, window = {self.window}: a test takes more than least distances of the last "
                f"window, at least {FEW} and at most {LARGEST_WINDOW}"
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
    """The detector of one account, the same whether its rows come one by one or in batches; ``cap`` is for each set."""

    def __init__(self, *, delta: float, least: int, every: int, window: int, cap: int | None, rng: Generator) -> None:
        self._delta, self._least, self._every = delta, least, every
        self._cap, self._rng = cap, rng
        self._sets: dict[int, GrowingSet] = {}
        self._last = np.zeros(window)  # distances, the oldest overwritten
        self._classes = np.zeros(window, dtype=np.int64)  # of which class each is
        self._counts: dict[int, int] = {}  # distances of each class, ever
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
        """W of the distances as they stand, None if they are too few or all alike."""
        kept = self._last[: min(self._distances, len(self._last))]
        classes = self._classes[: len(kept)]
        kept = kept[np.isin(classes, [label for label, count in self._counts.items() if count >= FEW])]
        if len(kept) == 0:
            return None
        kept = kept[np.abs(kept - kept.mean()) < FAR * kept.std()]
        return float(shapiro(kept).statistic) if len(kept) > self._least else None

    def _seen(self, label: int, distance: float | None) -> bool:
        """Return whether the alarm stands once a row of a class is seen at a distance from that class's others."""
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
    """Rows of one class that are farther from one another than a threshold, which rises with their distances.

    ``cap`` rows are kept, a reservoir of all that were inserted; None keeps all.
    """

    def __init__(self, *, cap: int | None, rng: Generator) -> None:
        self._cap, self._rng = cap, rng
        self._rows = torch.empty(0, 0)  # room for rows, of which the first ``_size`` are there
        self._lengths = torch.empty(0)  # their squared norms
        self._size = 0
        self._inserted = 0
        self._sum, self._squares = 0.0, 0.0  # of the distances at insertion; that of the first row counts as 0
        self.threshold = 0.0

    def __len__(self) -> int:
        return self._size

    def meet(self, rows: Tensor) -> Iterator[float | None]:
        """Yield the distance of each row (N, d) float32 to the nearest that is there, None for the very first.

        A row that is farther than the threshold is inserted before the next one is met. Distances to all are found
        for the whole batch at once, in float32, and those that may be the least again, in float64.
        """
        old, values, lengths = self._size, rows.numpy(), rows.square().sum(dim=1)
        table = self._squared_distances(rows, lengths)
        columns = np.arange(old + len(rows))  # of the table, where the row in each place of the set stands
        slack = 8 * _ROUNDING * rows.shape[1] * float(torch.cat([self._lengths[:old], lengths]).max())
        for number, row in enumerate(values):
            distance = None
            if self._size:
                found = table[number, columns[: self._size]]
                near = np.flatnonzero(found <= found.min() + slack)
                exact = self._rows.numpy()[near].astype(np.float64) - row
                distance = float(np.sqrt(np.square(exact).sum(axis=1).min()))
            if distance is None or distance > self.threshold:
                place = self._insert(rows[number], lengths[number], distance or 0.0)
                if place is not None:
                    columns[place] = old + number
            yield distance

    def _insert(self, row: Tensor, length: Tensor, distance: float) -> int | None:
        """Return the place that a row gets, None if it is counted but not kept."""
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
        """Return (N, len(self) + N) to the rows that are there and to the new ones, rounded by up to half the slack."""
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
