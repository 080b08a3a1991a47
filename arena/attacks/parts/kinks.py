"""Kinks of a function that is piecewise linear along lines, and the hyperplane on which a kink lies.

Sources: those of `arena.attacks.functional_equivalence`. All numbers are float64; a function rounds the points that it
is asked for to float32, and every formula uses the rounded ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FIRST_ROWS, WINDOW = 17, 5  # rows on a line, and in each of the windows, which share their ends
SHORTEST = 1e-4  # of the line: two kinks in a window as short as that are given up
FLAT, MEETING = 8, 40  # times the noise: second differences without a kink, and check points of a single kink
OUTER = 0.4  # where in an outermost quarter of a window a single kink is checked
LARGEST_STEP = 0.3  # of a difference, relative to the distance from the kink
JUMP_TOLERANCE = 0.02  # relative, between the slope change along the line and that of the Jacobians


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """Values (N, K) of a function at points (N, d)."""

    points: Tensor
    values: Tensor

    def at(self, which: Tensor) -> Observed:
        return Observed(points=self.points[which], values=self.values[which])


Ask = Callable[[Tensor], Observed]
"""Asks for points (N, d) of the box [0, 1]^d, which it may round."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """A segment of the box from ``start`` (d,) by ``way`` (d,); places on it are in [0, 1]."""

    start: Tensor
    way: Tensor

    def at(self, places: Tensor) -> Tensor:
        """Return the points (N, d) at places (N,)."""
        return (self.start + places.unsqueeze(1) * self.way).clamp(0, 1)

    def place_of(self, points: Tensor) -> Tensor:
        """Return the places (N,) of points (N, d) near the line."""
        return (points - self.start) @ self.way / self.way.square().sum()


def through(first: Tensor, second: Tensor) -> Line:
    """Return the line through two different points (d,) of the box, from border to border."""
    way = second - first
    moving = way != 0
    borders = torch.stack([-first[moving], 1 - first[moving]]) / way[moving]
    enter, leave = borders.amin(dim=0).max(), borders.amax(dim=0).min()
    return Line(start=first + enter * way, way=(leave - enter) * way)


@dataclass(frozen=True, kw_only=True, eq=False)
class Kink:
    """A kink at ``place`` of a line: its slope changes by ``jump`` (K,) per line, and ``room`` is free on both sides."""

    place: float
    jump: Tensor
    room: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Window:
    """Five neighbouring rows of a line: places (5,) and values (5, K)."""

    places: Tensor
    values: Tensor

    @property
    def is_long(self) -> bool:
        return float(self.places[-1] - self.places[0]) > SHORTEST

    def is_flat(self, tolerance: float) -> bool:
        return float(second_differences(self.values).abs().max()) < tolerance

    def slope(self, first: int, second: int) -> Tensor:
        return (self.values[second] - self.values[first]) / (self.places[second] - self.places[first])

    def meeting(self) -> Kink | None:
        """Return where the lines through the first two and the last two rows meet, if it is between the others.

        The place is that of least squares over all values.
        """
        jump = self.slope(3, 4) - self.slope(0, 1)
        apart = (self.values[4] - self.values[0]) - self.slope(3, 4) * (self.places[4] - self.places[0])
        place = float(self.places[0] - (apart @ jump) / (jump @ jump).clamp(min=torch.finfo(jump.dtype).tiny))
        return Kink(place=place, jump=jump) if self.places[1] < place < self.places[3] else None

    def checks(self, kink: Kink) -> Tensor:
        """Return the places (3,) that tell a single kink: itself and one in each outermost quarter.

        A kink in an outermost quarter makes the lines meet exactly at the second or fourth row, too. The middle of a
        quarter would be queried again if the window is halved.
        """
        outer = self.places[[0, 3]] + OUTER * (self.places[[1, 4]] - self.places[[0, 3]])
        return torch.stack([outer[0], torch.as_tensor(kink.place, dtype=outer.dtype), outer[1]])

    def foreseen(self, kink: Kink, places: Tensor) -> Tensor:
        """Return the values (N, K) at places (N,) if the window has this kink and no other."""
        first = self.values[0] + (places - self.places[0]).unsqueeze(1) * self.slope(0, 1)
        return first + (places - kink.place).clamp(min=0).unsqueeze(1) * kink.jump


def kinks_on(line: Line, ask: Ask, *, noise: float) -> list[Kink]:
    """Return the kinks of a function on a line, in order, which stand alone in a window of rows.

    Windows with more than one kink are halved until they are shorter than `SHORTEST`. ``noise`` is that of a second
    difference.
    """
    kinks: list[Kink] = []
    windows = _windows(_observed(line, ask, torch.linspace(0, 1, FIRST_ROWS, dtype=torch.float64)))
    while windows:
        curved = [window for window in windows if not window.is_flat(FLAT * noise)]
        found = _single(line, ask, curved, tolerance=MEETING * noise)
        kinks += [kink for kink in found if kink is not None]
        left = [window for window, kink in zip(curved, found, strict=True) if kink is None and window.is_long]
        windows = _halved(line, ask, left)
    kinks.sort(key=lambda kink: kink.place)
    borders = [0.0, *(kink.place for kink in kinks), 1.0]
    rooms = [
        min(here - before, after - here) for before, here, after in zip(borders, borders[1:], borders[2:], strict=False)
    ]
    return [Kink(place=kink.place, jump=kink.jump, room=room) for kink, room in zip(kinks, rooms, strict=True)]


def _observed(line: Line, ask: Ask, places: Tensor) -> _Window:
    seen = ask(line.at(places))
    return _Window(places=line.place_of(seen.points), values=seen.values)


def _windows(rows: _Window) -> list[_Window]:
    step = WINDOW - 1
    starts = range(0, len(rows.places) - step, step)
    return [_Window(places=rows.places[at : at + WINDOW], values=rows.values[at : at + WINDOW]) for at in starts]


def _single(line: Line, ask: Ask, windows: list[_Window], *, tolerance: float) -> list[Kink | None]:
    """Return for each window its kink, if its rows and three more say that it has just one."""
    met = [window.meeting() for window in windows]
    pairs = [(window, kink) for window, kink in zip(windows, met, strict=True) if kink is not None]
    if not pairs:
        return met
    rows = _observed(line, ask, torch.cat([window.checks(kink) for window, kink in pairs]))
    for number, (window, kink) in enumerate(pairs):
        places, values = rows.places[3 * number : 3 * number + 3], rows.values[3 * number : 3 * number + 3]
        if float((window.foreseen(kink, places) - values).abs().max()) > tolerance:
            met[met.index(kink)] = None
    return met


def _halved(line: Line, ask: Ask, windows: list[_Window]) -> list[_Window]:
    """Return both halves of each window, after asking for a row between each two neighbours."""
    if not windows:
        return []
    rows = _observed(line, ask, torch.cat([(window.places[1:] + window.places[:-1]) / 2 for window in windows]))
    halves: list[_Window] = []
    for number, window in enumerate(windows):
        between = slice((WINDOW - 1) * number, (WINDOW - 1) * (number + 1))
        places, order = torch.cat([window.places, rows.places[between]]).sort()
        values = torch.cat([window.values, rows.values[between]])[order]
        halves += _windows(_Window(places=places, values=values))
    return halves


@dataclass(frozen=True, kw_only=True, eq=False)
class Hyperplane:
    """The points x with ``normal`` (d,) x + ``offset`` = 0, where the normal has length 1."""

    normal: Tensor
    offset: Tensor


def hyperplane(line: Line, kink: Kink, ask: Ask, *, noise: float, precision: float) -> Hyperplane | None:
    """Return the hyperplane of a kink, from the Jacobians on its two sides; it costs 2 (d + 1) rows.

    The difference of the Jacobians has rank one, and its row space is the normal. Steps are long enough for a relative
    ``precision`` of the jump. None if no step is, or if the two Jacobians do not differ as the slopes of the line do.
    """
    columns, length = len(line.way), float(line.way.norm())
    strength = float(kink.jump.norm())
    aside = kink.room / 2
    step = 4 * noise * columns**0.5 * length / (precision * strength)
    if step > LARGEST_STEP * aside * length:
        return None
    sides = line.at(torch.tensor([kink.place - aside, kink.place + aside], dtype=torch.float64))
    jump = torch.sub(*reversed([_jacobian(side, ask, step=step) for side in sides]))
    lost = 2 * noise * columns**0.5 * length / step
    if float((jump @ line.way - kink.jump).norm()) > JUMP_TOLERANCE * strength + lost:
        return None
    normal = torch.linalg.svd(jump, full_matrices=False).Vh[0]
    at = line.at(torch.tensor([kink.place], dtype=torch.float64))[0]
    return Hyperplane(normal=normal, offset=-normal @ at)


def _jacobian(point: Tensor, ask: Ask, *, step: float) -> Tensor:
    """Return the Jacobian (K, d) at a point (d,), by differences along the axes towards the inside of the box."""
    signs = torch.where(point + step <= 1, 1.0, -1.0).double()
    seen = ask(torch.cat([point.unsqueeze(0), point + torch.diag(step * signs)]))
    steps = (seen.points[1:] - seen.points[0]).diagonal()
    return ((seen.values[1:] - seen.values[0]) / steps.unsqueeze(1)).T


def second_differences(values: Tensor) -> Tensor:
    """Return v_i - 2 v_(i+1) + v_(i+2) of values (..., N, K) along their rows."""
    return values[..., :-2, :] - 2 * values[..., 1:-1, :] + values[..., 2:, :]
