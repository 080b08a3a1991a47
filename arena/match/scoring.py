"""The referee's scores of a match: its clones on rows that no player has seen, its defense on the honest traffic."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from arena.contracts import (
    Defense,
    DefenseFault,
    Fault,
    MatchResult,
    Matchup,
    MeasureName,
    PlayerFault,
    Scores,
    Verdict,
    matchup_id,
)
from arena.contracts import scores as names
from arena.contracts.flags import NO_CONTROL, TIMED
from arena.learning.training import one_thread
from arena.match.assessment import Assessment, assess, grid_png
from arena.match.attacking import AttackReport
from arena.match.cache import Cache
from arena.match.clone_scores import CloneScores, score_clones
from arena.match.clones import AnsweringClone
from arena.match.control import control_fidelity
from arena.match.deployed import Deployed
from arena.match.explanation_scores import ExplanationScores, explanation_scores
from arena.match.honest_scores import honest_scores, promise_scores, volume_scores
from arena.match.preparation import DefendedVictim
from arena.match.site import Site
from arena.oracle.transcript import Transcript
from arena.registry import SANDBOX, entries_in

MAPS = "maps"
"""The name of the picture of the explanations that were served."""


@dataclass(frozen=True, kw_only=True)
class PlayedMatch:
    """A match whose oracle is closed and that is to be scored; ``report`` holds its verdict so far."""

    matchup: Matchup
    attempt: int
    isolation: str
    report: AttackReport
    flags: tuple[str, ...] = ()
    measures: Mapping[MeasureName, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A result, and the PNG files that belong to it, by name."""

    result: MatchResult
    pictures: Mapping[str, bytes] = field(default_factory=dict)

    def save_pictures(self, folder: Path | None) -> None:
        """Write the pictures to ``folder``, if there is one."""
        if folder is not None and self.pictures:
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in self.pictures.items():
                (folder / name).write_bytes(data)


def score_match(
    played: PlayedMatch,
    transcript: Transcript,
    *,
    defense: Defense,
    defended: DefendedVictim,
    site: Site,
    cache: Cache | None = None,
) -> Scored:
    """Score a match and return its result; the referee's clones are stored in ``cache``, by default the site's.

    The clones of tracks A and A-hard are trained on the answers that were given; if there are none, only the floor is
    scored. Utility covers the honest rows that were answered; what a faulty defense left unanswered, the referee counts
    from the undefended match. A fault of a player during scoring becomes a verdict, and everything else is scored.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    stored = cache or Cache(folder=site.cache)
    deployed = Deployed(matchup=played.matchup, defense=defense, defended=defended, site=site, cache=stored)
    with one_thread():
        clones = score_clones(played.matchup, transcript, played.report, deployed)
        honest = honest_scores(played.matchup, transcript, site)
        explained, faults = _explained(deployed, played.report)
        control = _control(played, clones, deployed)
        assessment = _assessed(played, clones, transcript, defense=defense, defended=defended, site=site)
    parts = (
        Scores(measures={**played.measures, **played.report.facts}),
        Scores(counts={**clones.counts, **control.counts}, measures=clones.measures),
        honest,
        promise_scores(played.matchup, transcript, defense, site),
        volume_scores(played.matchup, site),
        explained,
        Scores(counts=assessment.counts, measures=assessment.measures),
        _effort(played, transcript, wall=time.perf_counter() - wall, cpu=time.process_time() - cpu),
    )
    maps = {MAPS: grid_png(explained.grid)} if explained.grid is not None else {}
    pictures = {f"{matchup_id(played.matchup)}-{name}.png": data for name, data in {**maps, **assessment.grids}.items()}
    result = MatchResult(
        matchup=played.matchup,
        attempt=played.attempt,
        verdict=_verdict(played.report.verdict, [*clones.faults, *faults, *assessment.faults]),
        isolation=played.isolation,
        transcript_digest=transcript.digest,
        clone_digest=played.report.clone_digest,
        spent=transcript.counts.spent,
        rows=transcript.counts.rows,
        distinct_rows=transcript.counts.distinct_rows,
        calls=transcript.counts.calls,
        counts={name: count for part in parts for name, count in part.counts.items()},
        measures={name: value for part in parts for name, value in part.measures.items() if math.isfinite(value)},
        pictures=tuple(sorted(pictures)),
        flags=(
            *played.flags,
            *clones.flags,
            *control.flags,
            *assessment.flags,
            *((TIMED,) if played.report.timed else ()),
        ),
        honest=honest.outcomes,
        confusion=clones.confusion,
    )
    return Scored(result=result, pictures=pictures)


def _explained(deployed: Deployed, report: AttackReport) -> tuple[ExplanationScores, list[PlayerFault]]:
    """Score the explanations that the defense serves, unless it failed before or fails now."""
    if report.verdict.fault == "defense":
        return ExplanationScores(), []
    try:
        return explanation_scores(deployed), []
    except DefenseFault as fault:
        return ExplanationScores(), [fault]


@dataclass(frozen=True, kw_only=True)
class _Control(Scores):
    """What an entry brought along, with a flag if that could not be measured."""

    flags: tuple[str, ...] = ()


def _control(played: PlayedMatch, clones: CloneScores, deployed: Deployed) -> _Control:
    """Play the control of an entry whose clone was scored; without one, its own clone counts as its control."""
    own = clones.counts.get(names.clone_count("b", "fidelity"))
    if own is None or played.isolation != SANDBOX or not entries_in(played.matchup.attack):
        return _Control()
    found = control_fidelity(played.matchup, deployed.defense, deployed.defended, deployed.site)
    return _Control(counts={names.CONTROL: found or own}, flags=() if found is not None else (NO_CONTROL,))


def _effort(played: PlayedMatch, transcript: Transcript, *, wall: float, cpu: float) -> Scores:
    """Return what the attack and the scoring took, in seconds and steps, what the attack left of its budget, and what was refused."""
    report = played.report
    return Scores(
        measures={
            names.ATTACK_WALL_SECONDS: report.wall_seconds,
            names.ATTACK_CPU_SECONDS: report.cpu_seconds,
            names.ATTACK_STEPS: float(report.steps),
            names.SCORE_WALL_SECONDS: wall,
            names.SCORE_CPU_SECONDS: cpu,
            names.ATTACK_REFUSED: float(transcript.attack_refused.sum()),
            names.UNSPENT: float(played.matchup.budget - transcript.counts.spent),
        },
    )


def _verdict(before: Verdict, faults: Sequence[PlayerFault]) -> Verdict:
    """Return the verdict on a match after the faults found while it was scored; the first fault of a match decides."""
    if before.outcome != "completed" or not faults:
        return before
    blamed: Fault = "defense" if isinstance(faults[0], DefenseFault) else "attack"
    return replace(before, outcome="crashed", fault=blamed, stage="score", reason=str(faults[0]))


def _assessed(
    played: PlayedMatch,
    clones: CloneScores,
    transcript: Transcript,
    *,
    defense: Defense,
    defended: DefendedVictim,
    site: Site,
) -> Assessment:
    """Run the matchup's threats with the attack's clone, or with the clone of track A.

    The latter stands in for a clone that could not be scored, and for one that has no gradients, which threats need.
    """
    own, scored = played.report.clone, names.clone_count("b", "fidelity") in clones.counts
    best = own if scored and not isinstance(own, AnsweringClone) else clones.soft
    if not played.matchup.threats or played.report.verdict.fault == "defense" or best is None:
        return Assessment()
    return assess(played.matchup, best, defense=defense, defended=defended, transcript=transcript, site=site)
