"""Figures with a row for each player or cell: rank intervals, and the three tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.ticker import MaxNLocator

from arena.metrics.intervals import Interval
from arena.metrics.rank_intervals import RankInterval
from arena.report.cells import TrackRow
from arena.report.findings import Findings
from arena.report.pictures.picture import ROW_INCHES, ROWS_AT_MOST, Picture, canvas, cut, legend_below, look, styled
from arena.report.pictures.scatters import arms, shortened

BESIDE = 0.34  # of a row, between two intervals of a player
MARGIN_INCHES = 1.5  # for title and axis


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """A player with its group and its rank interval."""

    player: str
    group: str
    ranks: RankInterval
    place: float | None = None  # in rows from the top; None: a row of its own


@styled
def defense_rank_picture(found: Findings, name: str) -> Picture | None:
    """Return the rank intervals of defenses, by division and class; None without ranks."""
    rows = [
        _Ranked(player=row.defense.name, group=f"{one.group.division}, {one.group.score_class}", ranks=ranks)
        for one in found.groups
        for row in one.rows
        if (ranks := row.standing.ranks) is not None
    ]
    return _rank_picture(rows, name, "Rank intervals of defenses")


@styled
def told_rank_picture(found: Findings, name: str) -> Picture | None:
    """Return the rank intervals against blind and against informed attacks, side by side; None without both."""
    order = [row.defense for one in found.groups for row in one.rows]
    apart = [number - (len(found.told_ranks) - 1) / 2 for number in range(len(found.told_ranks))]
    rows = [
        _Ranked(player=defense.name, group=f"{told.over} attacks", ranks=ranks, place=place + BESIDE * step)
        for place, defense in enumerate(order)
        for told, step in zip(found.told_ranks, apart, strict=True)
        if (standing := told.standings.get(defense.label)) is not None and (ranks := standing.ranks) is not None
    ]
    return _rank_picture(rows, name, "Rank intervals of defenses within their division, by what attacks are told")


@styled
def attack_rank_picture(found: Findings, name: str) -> Picture | None:
    """Return the rank intervals of attacks by their own clones; None without ranks."""
    rows = [
        _Ranked(player=row.attack.name, group="attacks", ranks=row.ranks)
        for row in found.attacks
        if row.ranks is not None
    ]
    return _rank_picture(sorted(rows, key=_by_rank), name, "Rank intervals of attacks")


def _by_rank(row: _Ranked) -> tuple[int, int]:
    return row.ranks.first, row.ranks.last


def _rank_picture(rows: Sequence[_Ranked], name: str, title: str) -> Picture | None:
    players = list(dict.fromkeys(row.player for row in rows))
    labels = players[:ROWS_AT_MOST]
    shown = [row for row in rows if row.player in labels]
    if not shown:
        return None
    figure, axes = canvas(height=MARGIN_INCHES + ROW_INCHES * len(labels))
    groups = list(dict.fromkeys(row.group for row in shown))
    tips, labelled = {}, set()
    for number, row in enumerate(shown):
        style, place = look(groups.index(row.group)), number if row.place is None else row.place
        (line,) = axes.plot(
            [row.ranks.first, row.ranks.last],
            [place, place],
            linewidth=2.5,
            markersize=5,
            label=None if row.group in labelled else row.group,
            color=style.colour,
            marker=style.marker,
        )
        labelled.add(row.group)
        part = f"rank{number}"
        line.set_gid(part)
        tips[part] = f"{row.player}: rank {row.ranks} ({row.group})"
    axes.set_yticks(range(len(labels)), [shortened(label) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0.5, max(row.ranks.last for row in shown) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("rank within its group, 1 is the best")
    axes.set_title(cut("Rank intervals", len(labels), len(players)))
    legend_below(figure, entries=len(groups), columns=1)
    return Picture(name=name, title=title, figure=figure, tips=tips)


Which = Literal["A", "A-hard", "B"]


@styled
def track_picture(found: Findings, name: str) -> Picture | None:
    """Return the fidelity of the three tracks of each cell, as three markers in a row; None if nothing was scored."""
    rows = found.tracks[:ROWS_AT_MOST]
    if not rows:
        return None
    figure, axes = canvas(height=MARGIN_INCHES + 0.3 + ROW_INCHES * len(rows))
    tips = {}
    tracks: tuple[Which, ...] = ("A", "A-hard", "B")
    for number, track in enumerate(tracks):
        places = [(place, interval) for place, row in enumerate(rows) if (interval := _of(row, track)) is not None]
        style = look(number)
        axes.errorbar(
            [100 * interval.mean for _, interval in places],
            [place + 0.2 * (number - 1) for place, _ in places],
            xerr=arms([interval for _, interval in places]),
            linestyle="none",
            linewidth=0.7,
            color=style.colour,
        )
        for place, interval in places:
            (dot,) = axes.plot(
                [100 * interval.mean],
                [place + 0.2 * (number - 1)],
                linestyle="none",
                markersize=4.5,
                label=track if place == places[0][0] else None,
                color=style.colour,
                marker=style.marker,
            )
            part = f"track{number}x{place}"
            dot.set_gid(part)
            row = rows[place]
            tips[part] = f"{row.attack.name} against {row.defense.name}, track {track}: {100 * interval.mean:.1f} %"
    axes.set_yticks(range(len(rows)), [_pair(row) for row in rows], fontsize=7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("fidelity, %")
    axes.set_title(cut("Tracks", len(rows), len(found.tracks)))
    legend_below(figure, entries=len(tracks), columns=3)
    return Picture(name=name, title="Fidelity of tracks A, A-hard and B in each cell", figure=figure, tips=tips)


def _of(row: TrackRow, track: Which) -> Interval | None:
    return {"A": row.a, "A-hard": row.a_hard, "B": row.b}[track]


def _pair(row: TrackRow) -> str:
    return f"{shortened(row.attack.name)} / {shortened(row.defense.name)}"
