"""What threats achieve with the clones of a payoff matrix."""

from __future__ import annotations

from dataclasses import dataclass

from arena.contracts import scores as names
from arena.payoff.matrix import PayoffMatrix
from arena.report.players import Player, player_of
from arena.report.sentences import share


@dataclass(frozen=True, kw_only=True)
class ThreatRow:
    """The success of threats with the clones of one attack and defense, in the order of `ThreatFindings.counted`."""

    attack: Player
    defense: Player
    shares: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class ThreatFindings:
    """One threat, what it counts, and one row per attack and defense."""

    threat: str
    counted: tuple[str, ...]
    rows: tuple[ThreatRow, ...]


def threat_findings(matrix: PayoffMatrix) -> list[ThreatFindings]:
    """Return the findings about each threat that was tried."""
    counted = sorted({
        name for cell in matrix.results.values() for one in cell for name in one.counts if names.is_threat(name)
    })  # fmt: skip
    found = []
    for threat in dict.fromkeys(name.split("/")[1] for name in counted):
        columns = [name for name in counted if name.split("/")[1] == threat]
        rows = tuple(
            ThreatRow(
                attack=player_of(matrix, attack),
                defense=player_of(matrix, defense),
                shares=tuple(share(played, name) for name in columns),
            )
            for (attack, defense), played in matrix.results.items()
        )
        words = tuple(name.split("/", 2)[2] for name in columns)
        found.append(ThreatFindings(threat=threat, counted=words, rows=rows))
    return found
