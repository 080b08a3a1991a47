"""The order of stages and what becomes of a failed one, without players: a scripted place where stages run."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from arena.contracts import MatchResult, Verdict
from arena.match.attacking import AttackReport
from arena.match.scoring import PlayedMatch, Scored
from arena.match.stages import Closed, Deployed, Match, Preparation, Stage, StageFailed, StageOutcome, VictimReady
from tests.players import MATCHUP

PREPARED = Preparation(flags=("leak",), measures={"audit/overlap": 3.0})
COMPLETED = AttackReport(verdict=Verdict(outcome="completed"), clone_digest="c")
CRASHED = Verdict(outcome="crashed", fault="attack", stage="play", reason="no ideas", output="Traceback")
LOST = Verdict(outcome="infrastructure", fault="arena", stage="play", reason="disk full")


@dataclass
class Scripted:
    """Stages that end as the script says, in good order where it says nothing."""

    script: dict[Stage, StageOutcome] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    scored: PlayedMatch | None = None

    def victim(self) -> StageOutcome:
        return self._ended("victim", VictimReady())

    def prepare(self) -> StageOutcome:
        return self._ended("prepare", PREPARED)

    def deploy(self) -> StageOutcome:
        return self._ended("deploy", Deployed())

    def play(self) -> StageOutcome:
        return self._ended("play", COMPLETED)

    def close(self) -> StageOutcome:
        return self._ended("close", Closed())

    def score(self, played: PlayedMatch) -> StageOutcome:
        self.scored = played
        result = MatchResult(
            matchup=played.matchup,
            attempt=played.attempt,
            verdict=played.report.verdict,
            isolation=played.isolation,
            flags=played.flags,
            measures=played.measures,
            clone_digest=played.report.clone_digest,
        )
        return self._ended("score", Scored(result=result))

    def _ended(self, stage: Stage, sound: StageOutcome) -> StageOutcome:
        self.begun.append(stage)
        return self.script.get(stage, sound)


def ended(stages: Scripted) -> MatchResult:
    match = Match(MATCHUP, attempt=2, isolation="in-process")
    while match.ending is None:
        match.take(match.begin(stages))
    return match.ending.result


def test_a_sound_match_goes_through_every_stage_in_order():
    stages = Scripted()
    result = ended(stages)
    assert stages.begun == ["victim", "prepare", "deploy", "play", "close", "score"]
    assert (result.verdict.outcome, result.attempt, result.flags) == ("completed", 2, ("leak",))
    assert result.measures == PREPARED.measures


@pytest.mark.parametrize("stage", ["victim", "prepare", "deploy", "close", "score"])
def test_a_stage_that_fails_ends_the_match_there_without_a_score(stage: Stage):
    stages = Scripted({stage: StageFailed(outcome="crashed", fault="defense", reason="no")})
    result = ended(stages)
    assert stages.begun[-1] == stage
    assert result.verdict == Verdict(outcome="crashed", fault="defense", stage=stage, reason="no")
    assert (result.counts, result.transcript_digest) == ({}, "")
    assert result.flags == (("leak",) if stage not in ("victim", "prepare") else ())


def test_what_was_flagged_before_a_training_failed_is_kept():
    failed = StageFailed(outcome="crashed", fault="defense", reason="no", flags=("honest rows short",))
    assert ended(Scripted({"prepare": failed})).flags == ("honest rows short",)


def test_an_attack_that_crashes_is_closed_and_scored_with_its_verdict():
    stages = Scripted({"play": AttackReport(verdict=CRASHED)})
    assert ended(stages).verdict == CRASHED
    assert stages.begun[-2:] == ["close", "score"]


def test_a_defense_that_failed_while_it_answered_is_blamed_whatever_the_attack_did():
    for verdict in (COMPLETED.verdict, CRASHED):
        stages = Scripted({"play": AttackReport(verdict=verdict), "close": Closed(defense_fault="off the simplex")})
        found = ended(stages).verdict
        assert (found.outcome, found.fault, found.stage) == ("crashed", "defense", "play")
        assert (found.reason, found.output) == ("off the simplex", verdict.output)


def test_what_the_infrastructure_ended_has_no_score_even_if_the_defense_failed_too():
    stages = Scripted({"play": AttackReport(verdict=LOST), "close": Closed(defense_fault="and broken")})
    result = ended(stages)
    assert stages.begun[-1] == "close"
    assert (result.verdict, result.attempt, result.counts) == (LOST, 2, {})


def test_a_runner_may_say_that_a_stage_failed_elsewhere():
    match = Match(MATCHUP, attempt=1, isolation="process")
    match.fail(StageFailed(outcome="infrastructure", fault="arena", reason="a node died"), stage="start")
    assert match.ending is not None
    assert match.ending.result.verdict.stage == "start"
