"""The order of a match's stages, defined once for every runner: victim, prepare, deploy, play, close, score.

A runner decides only *where* a stage runs (`Stages`), in this process or in another. `Match` decides what comes next
and what follows from a failed stage, so that a fault has the same consequence wherever it happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeAlias, TypeVar

from arena.contracts import Fault, MatchResult, Matchup, MeasureName, Outcome, Verdict
from arena.match.attacking import AttackReport
from arena.match.scoring import PlayedMatch, Scored

Stage: TypeAlias = Literal["victim", "prepare", "deploy", "play", "close", "score"]

Place = TypeVar("Place", covariant=True)
"""What running a stage returns: its outcome, or a reference to the outcome if it runs in another process."""


@dataclass(frozen=True, kw_only=True)
class VictimReady:
    """The victim is trained."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The defended victim is trained; holds the flags of the matchup and the measures of the leak audit."""

    flags: tuple[str, ...] = ()
    measures: Mapping[MeasureName, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """The oracle is open."""


@dataclass(frozen=True, kw_only=True)
class Closed:
    """The oracle answers no more queries."""

    defense_fault: str = ""  # what the defense did wrong; empty if nothing
    facts: Mapping[MeasureName, float] = field(default_factory=dict)  # what the defense stated about itself
    latencies: Mapping[MeasureName, float] = field(default_factory=dict)  # how long honest users waited, in seconds


@dataclass(frozen=True, kw_only=True)
class StageFailed:
    """A stage that failed and ended its match, and whose fault that was."""

    outcome: Outcome
    fault: Fault
    reason: str
    flags: tuple[str, ...] = ()


StageOutcome: TypeAlias = VictimReady | Preparation | Deployed | AttackReport | Closed | Scored | StageFailed


class Stages(Protocol[Place]):
    """Where the stages of one match run. Each stage yields its own kind of `StageOutcome`, or `StageFailed`."""

    def victim(self) -> Place:
        """Train the victim unless it is cached."""

    def prepare(self) -> Place:
        """Admit the matchup, and train the surrogate and the defense unless they are cached."""

    def deploy(self) -> Place:
        """Deploy the defense and open the oracle."""

    def play(self) -> Place:
        """Let the attack play; the outcome is its report, whatever it did."""

    def close(self) -> Place:
        """Refuse further queries, answer the rest of the honest traffic, and seal the ledger."""

    def score(self, played: PlayedMatch) -> Place:
        """Score a match whose oracle is closed."""


class Match:
    """One attempt at one matchup: the stage that it is in, and the results of the stages before."""

    def __init__(self, matchup: Matchup, *, attempt: int, isolation: str, stage: Stage = "victim") -> None:
        """``stage`` is the first stage of the match."""
        self.matchup, self.attempt, self.isolation, self.stage = matchup, attempt, isolation, stage
        self.preparation = Preparation()
        self.report = AttackReport(verdict=Verdict(outcome="completed"))
        self.ending: Scored | None = None

    def begin(self, stages: Stages[Place]) -> Place:
        """Start the stage that the match is in."""
        if self.stage == "score":
            return stages.score(self.played)
        start = {
            "victim": stages.victim,
            "prepare": stages.prepare,
            "deploy": stages.deploy,
            "play": stages.play,
            "close": stages.close,
        }[self.stage]
        return start()

    def take(self, outcome: StageOutcome) -> None:
        """Record the outcome of the current stage, and move to the next stage or end the match."""
        match outcome:
            case VictimReady():
                self.stage = "prepare"
            case Preparation():
                self.preparation, self.stage = outcome, "deploy"
            case Deployed():
                self.stage = "play"
            case AttackReport():
                self.report, self.stage = outcome, "close"
            case Closed():
                self._closed(outcome)
            case Scored():
                self.ending = outcome
            case StageFailed():
                self.fail(outcome)

    @property
    def played(self) -> PlayedMatch:
        """The match as it is scored, once its oracle is closed."""
        return PlayedMatch(
            matchup=self.matchup,
            attempt=self.attempt,
            isolation=self.isolation,
            report=self.report,
            flags=self.preparation.flags,
            measures=self.preparation.measures,
        )

    def _closed(self, closed: Closed) -> None:
        """Move to scoring, unless the infrastructure failed; a fault of the defense overrides the attack's verdict."""
        measures = {**self.preparation.measures, **closed.facts, **closed.latencies}
        self.preparation = replace(self.preparation, measures=measures)
        verdict = self.report.verdict
        if verdict.outcome == "infrastructure":
            self._end(verdict)
            return
        if closed.defense_fault:
            verdict = replace(verdict, outcome="crashed", fault="defense", stage="play", reason=closed.defense_fault)
            self.report = replace(self.report, verdict=verdict)
        self.stage = "score"

    @property
    def may_blame_clone(self) -> bool:
        """Whether the attack's clone, which runs the attack's code in every forward, is being scored right now."""
        return self.stage == "score" and bool(self.report.clone_digest) and self.report.verdict.stage != "score"

    def blame_clone(self, outcome: Outcome, reason: str) -> None:
        """Have the match scored again without the attack's clone, which crashed the scoring or took too long."""
        assert self.may_blame_clone, "a clone is blamed only while it is scored"
        verdict = replace(self.report.verdict, outcome=outcome, fault="attack", stage="score", reason=reason)
        self.report = replace(self.report, clone=None, verdict=verdict)

    def fail(self, failure: StageFailed, *, stage: str = "") -> None:
        """End the match without scores; ``stage`` names where it failed, by default the current stage."""
        verdict = Verdict(
            outcome=failure.outcome, fault=failure.fault, stage=stage or self.stage, reason=failure.reason
        )
        self._end(verdict, flags=failure.flags or self.preparation.flags)

    def _end(self, verdict: Verdict, *, flags: tuple[str, ...] | None = None) -> None:
        """End the match with a verdict and no scores."""
        result = MatchResult(
            matchup=self.matchup,
            attempt=self.attempt,
            verdict=verdict,
            isolation=self.isolation,
            flags=self.preparation.flags if flags is None else flags,
            measures=self.preparation.measures,
        )
        self.ending = Scored(result=result)
