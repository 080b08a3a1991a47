"""Scoring by the referee alone: clones on rows that no player has seen, the defense on its honest traffic."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from arena.contracts import Count, CountName, Defense, MatchResult, Matchup, MeasureName, matchup_id
from arena.contracts import scores as names
from arena.learning.training import one_thread
from arena.match.assessment import Assessment, assess
from arena.match.attacking import AttackReport
from arena.match.clone_scores import CloneScores, score_clones
from arena.match.honest_scores import explanation_scores, honest_scores, promise_scores
from arena.match.preparation import DefendedVictim
from arena.match.site import Site
from arena.oracle.transcript import Transcript


@dataclass(frozen=True, kw_only=True)
class PlayedMatch:
    """A match whose oracle has closed, to be scored: its verdict stands in the report."""

    matchup: Matchup
    attempt: int
    isolation: str
    report: AttackReport
    flags: tuple[str, ...] = ()
    measures: Mapping[MeasureName, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A result, and the PNG files that belong to it by name."""

    result: MatchResult
    pictures: Mapping[str, bytes] = field(default_factory=dict)

    def save_pictures(self, folder: Path | None) -> None:
        """Write the pictures to ``folder``, if there is one."""
        if folder is not None and self.pictures:
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in self.pictures.items():
                (folder / name).write_bytes(data)


def score_match(
    played: PlayedMatch, transcript: Transcript, *, defense: Defense, defended: DefendedVictim, site: Site
) -> Scored:
    """Score what a match left and return its result.

    Tracks A and A-hard are trained on the answers that were given; if there are none, the floor stands. Utility is that
    of the honest rows that were answered: what a faulty defense left unanswered, the referee knows from the undefended
    match.
    """
    matchup, report, verdict = played.matchup, played.report, played.report.verdict
    wall, cpu = time.perf_counter(), time.process_time()
    with one_thread():
        clones = score_clones(played.matchup, transcript, report, defense=defense, defended=defended, site=site)
        counts: dict[CountName, Count] = {**clones.counts}
        measures: dict[MeasureName, float] = {**played.measures, **clones.measures}
        honest = honest_scores(matchup, transcript, site)
        for found in (
            honest,
            promise_scores(matchup, transcript, defense, site),
            explanation_scores(matchup, transcript, defended.context.explainer, site),
        ):
            counts |= found.counts
            measures |= found.measures
        assessment = _assessed(played, clones, transcript, defense=defense, defended=defended, site=site)
        counts |= assessment.counts
        measures |= assessment.measures
    pictures = {f"{matchup_id(matchup)}-{name}.png": data for name, data in assessment.grids.items()}
    result = MatchResult(
        matchup=matchup,
        attempt=played.attempt,
        verdict=verdict,
        isolation=played.isolation,
        transcript_digest=transcript.digest,
        clone_digest=report.clone_digest,
        spent=transcript.counts.spent,
        rows=transcript.counts.rows,
        distinct_rows=transcript.counts.distinct_rows,
        calls=transcript.counts.calls,
        counts=counts,
        measures={
            **measures,
            names.ATTACK_WALL_SECONDS: report.wall_seconds,
            names.ATTACK_CPU_SECONDS: report.cpu_seconds,
            names.SCORE_WALL_SECONDS: time.perf_counter() - wall,
            names.SCORE_CPU_SECONDS: time.process_time() - cpu,
            names.UNSPENT: float(matchup.budget - transcript.counts.spent),
        },
        pictures=tuple(sorted(pictures)),
        flags=(*played.flags, *clones.flags, *(("timed",) if report.timed else ())),
        honest=honest.outcomes,
    )
    return Scored(result=result, pictures=pictures)


def _assessed(
    played: PlayedMatch,
    clones: CloneScores,
    transcript: Transcript,
    *,
    defense: Defense,
    defended: DefendedVictim,
    site: Site,
) -> Assessment:
    """Run the matchup's threats with the attack's clone, else with the referee's of track A."""
    best: nn.Module | None = played.report.clone or clones.soft
    if not played.matchup.threats or played.report.verdict.fault == "defense" or best is None:
        return Assessment()
    return assess(played.matchup, best, defense=defense, defended=defended, transcript=transcript, site=site)
