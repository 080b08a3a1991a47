"""What a tournament shows, as plain values, so that all output (terminal, files, pages, MLflow) says the same.

Nothing here depends on a layout. A renderer takes its figures and sentences from `findings` and computes none itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arena.contracts import UNDEFENDED, Knowledge, MatchResult
from arena.contracts import scores as names
from arena.metrics.intervals import Interval
from arena.metrics.rank_intervals import RankInterval
from arena.payoff.cost import Cost
from arena.payoff.matrix import PayoffMatrix, Setting, WorstCase, matrices
from arena.payoff.mixture import Mixture, mixture
from arena.payoff.ranking import (
    AttackGroup,
    DefenseGroup,
    Standing,
    Strongest,
    attack_group,
    defense_groups,
    set_apart,
    strongest_defense,
)
from arena.payoff.tradeoff import ALLOWED_LOSSES, TradeOff, at_matched_loss, tradeoffs
from arena.report.cells import (
    AuditRow,
    HonestRow,
    ProtectionPoint,
    TrackRow,
    audit_rows,
    honest_rows,
    protection_points,
    track_rows,
)
from arena.report.effects import Advantage, Effect, advantages, effects
from arena.report.players import Player, player_of
from arena.report.promises import BrokenPromise, promise_sentences, promises
from arena.report.queries import QueryCurve, query_curves
from arena.report.sentences import FLOOR, of_intervals, sentences, share
from arena.report.served import DeployedRow, ErrorRow, MapRow, deployed_rows, error_rows, map_rows, mean_of
from arena.report.threat_rows import ThreatFindings, threat_findings


@dataclass(frozen=True, kw_only=True)
class AttackRow:
    """An attack against every defense, in the order of `Findings.defenses`; None if the matches are missing."""

    attack: Player
    cells: tuple[Interval | None, ...]
    own: Interval | None  # the fidelity of the attack's own clone, mean over defenses
    ranks: RankInterval | None
    steps: float | None  # optimiser steps of all of its networks, mean over its matches


@dataclass(frozen=True, kw_only=True)
class WorstCases:
    """The worst case of every defense over a set of attacks."""

    over: str  # "", "blind" or "informed"
    cells: tuple[WorstCase | None, ...]


@dataclass(frozen=True, kw_only=True)
class ToldRanks:
    """The standings of the ranked defenses against the attacks that are told the defense, or those that are not."""

    over: str  # "blind" or "informed"
    standings: Mapping[str, Standing]  # by the defense's label


@dataclass(frozen=True, kw_only=True)
class DefenseRow:
    """A defense with what it knew, what honest users lost, and what the worst attack gets."""

    defense: Player
    knew: tuple[str, ...]  # "surrogate random", "outliers far"; empty: nothing
    leak: bool
    not_ranked: str  # why it is not ranked; empty if it is
    standing: Standing
    worst_attack: str  # the short name of the attack with the largest mean
    brier_cost: float | None

    @property
    def cost(self) -> Cost:
        return self.standing.cost


@dataclass(frozen=True, kw_only=True)
class GroupRows:
    """The defenses that are ranked together, best first."""

    group: DefenseGroup
    rows: tuple[DefenseRow, ...]


@dataclass(frozen=True, kw_only=True)
class MatchedLoss:
    """The lowest clone accuracy over all swept values that cost honest users at most ``allowed``, a share."""

    allowed: float
    value: float | None  # the swept value where it occurs; None: the undefended victim
    clone: Interval


@dataclass(frozen=True, kw_only=True)
class SweptDefense:
    """A defense over its swept parameter, and the lowest clone accuracy for each allowed loss."""

    curve: TradeOff
    best_attacks: tuple[str, ...]  # short names, one per point
    least: tuple[MatchedLoss, ...]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that is shown of one payoff matrix; ``sentences`` summarise it."""

    setting: Setting
    seeds: int
    images: int  # the number of test rows behind each payoff
    intervals: str  # a sentence that says what the intervals cover
    told: str  # "blind", "informed", "blind and informed"
    defenses: tuple[Player, ...]
    attacks: tuple[AttackRow, ...]
    worst_cases: tuple[WorstCases, ...]
    strongest: Strongest | None  # the defense with the lowest worst case, the undefended victim left out
    equilibrium: Mixture | None
    floors: tuple[float | None, ...]  # fidelity of a clone that asked nothing, by defense
    ranked_attacks: AttackGroup
    groups: tuple[GroupRows, ...]  # by division and class
    told_ranks: tuple[ToldRanks, ...]  # blind and informed; empty if only one kind of attack was played
    set_apart: tuple[DefenseRow, ...]  # shown, but not ranked
    deployed: tuple[DeployedRow, ...]
    maps: tuple[MapRow, ...]
    errors: tuple[ErrorRow, ...]
    swept: tuple[SweptDefense, ...]
    threats: tuple[ThreatFindings, ...]
    broken_promises: tuple[BrokenPromise, ...]
    promises_checked: int  # rows, once for each promise made
    effects: tuple[Effect, ...]
    advantages: tuple[Advantage, ...]
    protection: tuple[ProtectionPoint, ...]
    tracks: tuple[TrackRow, ...]
    queries: tuple[QueryCurve, ...]
    honest: tuple[HonestRow, ...]
    audits: tuple[AuditRow, ...]
    sentences: tuple[str, ...]

    @property
    def undecided(self) -> frozenset[tuple[str, str]]:
        """The labels of attacks and defenses between which no significant effect of the defense was found."""
        decided = {(one.attack.label, one.defense.label) for one in self.effects if one.distinct}
        grid = itertools.product(self.attacks, self.defenses)
        return frozenset(
            place
            for row, defense in grid
            if (place := (row.attack.label, defense.label)) not in decided and defense.label != UNDEFENDED.name
        )

    @property
    def undefended(self) -> WorstCase | None:
        """The worst case of the undefended victim, None if it was not played."""
        labels = [one.label for one in self.defenses]
        return self.worst_cases[0].cells[labels.index(UNDEFENDED.name)] if UNDEFENDED.name in labels else None

    def name_of(self, label: str) -> str:
        """Return the short name of a player by its label."""
        players = (*self.defenses, *(row.attack for row in self.attacks))
        return next((one.name for one in players if one.label == label), label)

    @property
    def means(self) -> tuple[float, ...]:
        """The means of all cells that have a result."""
        return tuple(cell.mean for row in self.attacks for cell in row.cells if cell is not None)

    def is_worst(self, attack: str, column: int) -> bool:
        """Return whether an attack, by its label, has the largest mean against the defense in a column."""
        worst = self.worst_cases[0].cells[column]
        return worst is not None and worst.attack == attack


def findings(results: Sequence[MatchResult]) -> list[Findings]:
    """Return the findings of a tournament, one for each combination of victim, pool and budget."""
    return [findings_of(matrix) for matrix in matrices(results)]


def findings_of(matrix: PayoffMatrix) -> Findings:
    """Return what one payoff matrix shows."""
    ranked = attack_group(matrix)
    standings = {one.attack: one for one in ranked.standings}
    broken, checked = promises(matrix)
    return Findings(
        setting=matrix.setting,
        seeds=matrix.seeds,
        images=matrix.images,
        intervals=of_intervals(matrix),
        told=_told(matrix),
        defenses=tuple(player_of(matrix, defense) for defense in matrix.defenses),
        attacks=tuple(
            AttackRow(
                attack=player_of(matrix, attack),
                cells=tuple(matrix.cell(attack, defense) for defense in matrix.defenses),
                own=standings[attack].score if attack in standings else None,
                ranks=standings[attack].ranks if attack in standings else None,
                steps=mean_of(_of_attack(matrix, attack), names.ATTACK_STEPS),
            )
            for attack in matrix.attacks
        ),
        worst_cases=tuple(_worst_cases(matrix)),
        strongest=strongest_defense(matrix, [one for one in matrix.defenses if one != UNDEFENDED.name]),
        equilibrium=mixture(matrix),
        floors=tuple(share(matrix.of_defense(defense), FLOOR) for defense in matrix.defenses),
        ranked_attacks=ranked,
        groups=tuple(
            GroupRows(group=group, rows=tuple(_defense_row(matrix, standing) for standing in group.standings))
            for group in defense_groups(matrix)
        ),
        told_ranks=tuple(
            ToldRanks(over=over, standings=_standings(defense_groups(matrix, attacks=attacks)))
            for over, attacks in _told_apart(matrix)
        ),
        set_apart=tuple(_defense_row(matrix, standing) for standing in set_apart(matrix)),
        deployed=tuple(deployed_rows(matrix)),
        maps=tuple(map_rows(matrix)),
        errors=tuple(error_rows(matrix)),
        swept=tuple(_swept(matrix, curve) for curve in tradeoffs(matrix)),
        threats=tuple(threat_findings(matrix)),
        broken_promises=broken,
        promises_checked=checked,
        effects=effects(matrix),
        advantages=advantages(matrix),
        protection=protection_points(matrix),
        tracks=track_rows(matrix),
        queries=query_curves(matrix),
        honest=honest_rows(matrix),
        audits=audit_rows(matrix, [_knew(matrix, defense) for defense in matrix.defenses]),
        sentences=(*promise_sentences(broken, checked), *sentences(matrix)),
    )


def known(knowledge: Knowledge) -> tuple[str, ...]:
    """Return what a defense was let know, in words; empty if nothing."""
    stated = (("surrogate", knowledge.surrogate), ("outliers", knowledge.outliers))
    return tuple(f"{kind} {value}" for kind, value in stated if value != "none")


def _knew(matrix: PayoffMatrix, defense: str) -> tuple[str, ...]:
    return known(matrix.of_defense(defense)[0].matchup.knowledge)


def _told(matrix: PayoffMatrix) -> str:
    if not matrix.informed:
        return "blind"
    return "informed" if len(matrix.informed) == len(matrix.attacks) else "blind and informed"


def _worst_cases(matrix: PayoffMatrix) -> list[WorstCases]:
    """Return the worst cases over all attacks, and over blind and informed ones apart if both were played."""
    groups: list[tuple[str, Sequence[str]]] = [("", matrix.attacks), *_told_apart(matrix)]
    return [
        WorstCases(
            over=over,
            cells=tuple(matrix.worst_case(defense, attacks=attacks) for defense in matrix.defenses),
        )
        for over, attacks in groups
    ]


def _told_apart(matrix: PayoffMatrix) -> list[tuple[str, Sequence[str]]]:
    """Return the blind and the informed attacks, or nothing if only one kind was played."""
    blind = [attack for attack in matrix.attacks if attack not in matrix.informed]
    return [("blind", blind), ("informed", sorted(matrix.informed))] if blind and matrix.informed else []


def _standings(groups: Sequence[DefenseGroup]) -> dict[str, Standing]:
    return {one.defense: one for group in groups for one in group.standings}


def _defense_row(matrix: PayoffMatrix, standing: Standing) -> DefenseRow:
    played = matrix.of_defense(standing.defense)
    return DefenseRow(
        defense=player_of(matrix, standing.defense),
        knew=_knew(matrix, standing.defense),
        leak=standing.defense in matrix.leaked,
        not_ranked=_why_not_ranked(matrix, standing.defense),
        standing=standing,
        worst_attack=matrix.short(standing.worst_case.attack),
        brier_cost=mean_of(played, names.BRIER_COST),
    )


def _why_not_ranked(matrix: PayoffMatrix, defense: str) -> str:
    if defense in matrix.leaked:
        return "leak"
    return "too few honest rows" if defense in matrix.unranked else ""


def _of_attack(matrix: PayoffMatrix, attack: str) -> list[MatchResult]:
    return [result for defense in matrix.defenses for result in matrix.results.get((attack, defense), ())]


def _swept(matrix: PayoffMatrix, curve: TradeOff) -> SweptDefense:
    least = [(allowed, at_matched_loss(curve, allowed)) for allowed in ALLOWED_LOSSES]
    return SweptDefense(
        curve=curve,
        best_attacks=tuple(matrix.short(point.attack) for point in curve.points),
        least=tuple(
            MatchedLoss(
                allowed=float(allowed),
                value=found.point.value if found.point is not curve.undefended else None,
                clone=found.clone,
            )
            for allowed, found in least
            if found is not None
        ),
    )
