"""The order of a match's stages, written once: victim, prepare, deploy, play, close, score.

A runner says only *where* a stage runs (`Stages`), in this process or in another one; `Match` says what comes next and
what becomes of a stage that failed. So a fault has the same consequence wherever it happens.
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
"""What running a stage gives: its outcome, or a reference to it where it runs in another process."""


@dataclass(frozen=True, kw_only=True)
class VictimReady:
    """The victim is trained, or was."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The defended victim is trained; what is to be flagged of the matchup, and what the leak audit measured."""

    flags: tuple[str, ...] = ()
    measures: Mapping[MeasureName, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """The oracle is open."""


@dataclass(frozen=True, kw_only=True)
class Closed:
    """The oracle answers no more; what its defense did wrong while it did."""

    defense_fault: str = ""


@dataclass(frozen=True, kw_only=True)
class StageFailed:
    """A stage that ended its match, and through whose fault."""

    outcome: Outcome
    fault: Fault
    reason: str
    flags: tuple[str, ...] = ()


StageOutcome: TypeAlias = VictimReady | Preparation | Deployed | AttackReport | Closed | Scored | StageFailed


class Stages(Protocol[Place]):
    """Where the stages of one match run. Each ends in the `StageOutcome` of its own kind, or in `StageFailed`."""

    def victim(self) -> Place:
        """Train the victim unless a cache has it."""

    def prepare(self) -> Place:
        """Admit the matchup; train surrogate and defense unless a cache has them."""

    def deploy(self) -> Place:
        """Deploy the defense and open the oracle."""

    def play(self) -> Place:
        """Let the attack play; it ends in its report, whatever it did."""

    def close(self) -> Place:
        """Refuse further queries, serve the rest of the honest traffic, seal the ledger."""

    def score(self, played: PlayedMatch) -> Place:
        """Score what the match left."""


class Match:
    """One attempt of one matchup: the stage that it is in, and what the stages before it found."""

    def __init__(self, matchup: Matchup, *, attempt: int, isolation: str, stage: Stage = "victim") -> None:
        """``stage`` is the one that it begins with."""
        self.matchup, self.attempt, self.isolation, self.stage = matchup, attempt, isolation, stage
        self.preparation = Preparation()
        self.report = AttackReport(verdict=Verdict(outcome="completed"))
        self.ending: Scored | None = None

    def begin(self, stages: Stages[Place]) -> Place:
        """Begin the stage that the match is in."""
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
        """Go on to the next stage with what the last one ended in, or end the match."""
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
        """What is to be scored."""
        return PlayedMatch(
            matchup=self.matchup,
            attempt=self.attempt,
            isolation=self.isolation,
            report=self.report,
            flags=self.preparation.flags,
            measures=self.preparation.measures,
        )

    def _closed(self, closed: Closed) -> None:
        """Go on to the scores, unless the infrastructure ended the match; a fault of the defense is known by now."""
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
        """Whether the attack's clone is among what is being scored: it runs code of the attack's in every forward."""
        return self.stage == "score" and bool(self.report.clone_digest) and self.report.verdict.stage != "score"

    def blame_clone(self, outcome: Outcome, reason: str) -> None:
        """Have the match scored again without the attack's clone, which ended or held up the scoring."""
        assert self.may_blame_clone, "only a clone that is being scored is blamed for it"
        verdict = replace(self.report.verdict, outcome=outcome, fault="attack", stage="score", reason=reason)
        self.report = replace(self.report, clone=None, verdict=verdict)

    def fail(self, failure: StageFailed, *, stage: str = "") -> None:
        """End the match without a score; ``stage`` is where it failed, if that is not the stage that it is in."""
        verdict = Verdict(
            outcome=failure.outcome, fault=failure.fault, stage=stage or self.stage, reason=failure.reason
        )
        self._end(verdict, flags=failure.flags or self.preparation.flags)

    def _end(self, verdict: Verdict, *, flags: tuple[str, ...] | None = None) -> None:
        """End the match with nothing but a verdict."""
        result = MatchResult(
            matchup=self.matchup,
            attempt=self.attempt,
            verdict=verdict,
            isolation=self.isolation,
            flags=self.preparation.flags if flags is None else flags,
            measures=self.preparation.measures,
        )
        self.ending = Scored(result=result)
