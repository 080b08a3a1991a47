"""The rules of a run, with a runner that plays nothing: replays, stand-ins, reuse, resuming, progress."""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import pytest

from arena.contracts import (
    Knowledge,
    MatchResult,
    Matchup,
    ServiceUnreachable,
    Spec,
    Verdict,
    matchup_id,
)
from arena.referee.journal import Journal
from arena.referee.referee import Progress, Referee, Summary
from tests.tracking.matches import MATCHUP

COMPLETED = Verdict(outcome="completed")
INFRASTRUCTURE = Verdict(outcome="infrastructure", fault="arena", stage="play", reason="a node died")
FAULTY = Verdict(outcome="crashed", fault="defense", stage="play", reason="off the simplex")
UNDEFENDED = MATCHUP.undefended()
GRID = [replace(MATCHUP, seed=seed) for seed in range(3)]

Verdicts = Callable[[Matchup, int], Verdict]


def ended(matchup: Matchup, attempt: int, verdict: Verdict) -> MatchResult:
    """A made-up result; the undefended victim is stolen better, and answers 30 honest rows."""
    undefended_victim = matchup.is_undefended
    counts = {
        "a/fidelity": (90 if undefended_victim else 50, 100),
        "utility/kept": (30, 30) if undefended_victim else (9, 10),
        "utility/accuracy": (27, 30) if undefended_victim else (8, 10),
        "utility/clean_accuracy": (27, 30) if undefended_victim else (9, 10),
    }
    infrastructure = verdict.outcome == "infrastructure"
    return MatchResult(
        matchup=matchup,
        attempt=attempt,
        verdict=verdict,
        isolation="fake",
        counts={} if infrastructure else counts,
    )


@dataclass
class FakeRunner:
    """Ends matches in the order in which they came, at once, with the verdicts that a test gives."""

    verdicts: Verdicts = lambda matchup, attempt: COMPLETED
    slots: int = 2
    interrupt_after: int | None = None
    submitted: list[tuple[str, int]] = field(default_factory=list)
    queue: deque[tuple[Matchup, int]] = field(default_factory=deque)

    def submit(self, matchup: Matchup, *, attempt: int) -> None:
        assert len(self.queue) < self.slots
        self.submitted.append((matchup_id(matchup), attempt))
        self.queue.append((matchup, attempt))

    def advance(self, *, timeout: float) -> Iterator[MatchResult]:
        if self.interrupt_after is not None and len(self.submitted) > self.interrupt_after:
            raise KeyboardInterrupt
        matchup, attempt = self.queue.popleft()
        yield ended(matchup, attempt, self.verdicts(matchup, attempt))

    def close(self) -> None:
        self.queue.clear()


@dataclass
class FakeTracker:
    """Remembers, or fails, as a test says."""

    broken: bool = False
    recorded: list[MatchResult] = field(default_factory=list)

    def start(self, tournament: str, config: str) -> None: ...

    def record(self, result: MatchResult) -> None:
        if self.broken:
            raise ServiceUnreachable("no MLflow there")
        self.recorded.append(result)

    def close(self) -> None: ...


def key_of(matchup: Matchup) -> str:
    return f"key-{matchup_id(matchup)}"


def run(
    folder: Path,
    matchups: Sequence[Matchup] = GRID,
    *,
    runner: FakeRunner | None = None,
    tracker: FakeTracker | None = None,
    known: dict[str, MatchResult] | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    replays: int = 2,
    must_end: Callable[[], bool] = lambda: False,
) -> Summary:
    referee = Referee(
        runner=runner or FakeRunner(),
        tracker=tracker or FakeTracker(),
        journal=Journal(folder),
        key_of=key_of,
        known=known,
        on_progress=report,
        replays=replays,
        must_end=must_end,
    )
    return referee.run(matchups)


def test_plays_everything_once_and_answers_in_order(tmp_path: Path):
    runner, tracker = FakeRunner(), FakeTracker()
    summary = run(tmp_path, runner=runner, tracker=tracker)
    assert [result.matchup for result in summary.results] == GRID
    assert [result.key for result in summary.results] == [key_of(matchup) for matchup in GRID]
    assert runner.submitted == [(matchup_id(matchup), 1) for matchup in GRID]
    assert tracker.recorded == Journal(tmp_path).results == list(summary.results)
    assert summary.reused == 0


class TestInfrastructure:
    def test_is_replayed_and_the_attempt_that_ends_counts(self, tmp_path: Path):
        runner = FakeRunner(lambda matchup, attempt: COMPLETED if attempt == 3 else INFRASTRUCTURE)
        (result,) = run(tmp_path, GRID[:1], runner=runner).results
        assert (result.verdict, result.attempt) == (COMPLETED, 3)
        assert len(Journal(tmp_path).results) == 1

    @pytest.mark.parametrize("replays", [0, 1, 2, 5])
    def test_is_replayed_as_often_as_the_limits_say_and_then_missing(self, tmp_path: Path, replays: int):
        runner = FakeRunner(lambda matchup, attempt: INFRASTRUCTURE)
        (result,) = run(tmp_path, GRID[:1], runner=runner, replays=replays).results
        assert [attempt for _, attempt in runner.submitted] == list(range(1, replays + 2))
        assert (result.verdict, result.attempt) == (INFRASTRUCTURE, replays + 1)

    def test_of_one_match_does_not_hold_up_the_others(self, tmp_path: Path):
        runner = FakeRunner(lambda matchup, attempt: INFRASTRUCTURE if matchup.seed == 0 else COMPLETED)
        outcomes = [result.verdict.outcome for result in run(tmp_path, runner=runner).results]
        assert outcomes == ["infrastructure", "completed", "completed"]


def faulty_defenses(matchup: Matchup, attempt: int) -> Verdict:
    return COMPLETED if matchup.is_undefended else FAULTY


class TestAFaultyDefense:
    def test_is_scored_as_none_with_the_same_seed(self, tmp_path: Path):
        runner = FakeRunner(faulty_defenses)
        (result,) = run(tmp_path, [MATCHUP], runner=runner).results
        assert runner.submitted == [(matchup_id(MATCHUP), 1), (matchup_id(UNDEFENDED), 1)]
        assert UNDEFENDED.seed == MATCHUP.seed
        assert UNDEFENDED.knowledge == Knowledge()
        assert result.verdict == FAULTY
        assert result.counts["a/fidelity"] == (90, 100)
        assert result.flags == ("scored as none",)

    def test_has_its_unanswered_honest_rows_counted_wrong(self, tmp_path: Path):
        (result,) = run(tmp_path, [MATCHUP], runner=FakeRunner(faulty_defenses)).results
        assert result.counts["utility/kept"] == (9, 30)
        assert result.counts["utility/accuracy"] == (8, 30)
        assert result.counts["utility/clean_accuracy"] == (27, 30)

    @pytest.mark.parametrize("slots", [1, 5])
    def test_shares_one_stand_in_with_others_of_its_seed(self, tmp_path: Path, slots: int):
        others = [replace(MATCHUP, defense=Spec(name=name)) for name in ("top-k", "rounding")]
        runner = FakeRunner(faulty_defenses, slots=slots)
        results = run(tmp_path, [MATCHUP, *others], runner=runner).results
        assert [result.counts["a/fidelity"] for result in results] == [(90, 100)] * 3
        assert runner.submitted.count((matchup_id(UNDEFENDED), 1)) == 1

    @pytest.mark.parametrize("matchups", [[MATCHUP, UNDEFENDED], [UNDEFENDED, MATCHUP]])
    def test_takes_the_undefended_match_of_the_tournament_itself(self, tmp_path: Path, matchups: list[Matchup]):
        runner = FakeRunner(faulty_defenses)
        results = run(tmp_path, matchups, runner=runner).results
        assert len(runner.submitted) == len(results) == 2
        assert {result.counts["a/fidelity"] for result in results} == {(90, 100)}

    def test_is_missing_where_its_stand_in_is(self, tmp_path: Path):
        runner = FakeRunner(lambda matchup, attempt: INFRASTRUCTURE if matchup.is_undefended else FAULTY)
        (result,) = run(tmp_path, [MATCHUP], runner=runner).results
        assert result.verdict == FAULTY
        assert "a/fidelity" not in result.counts

    def test_that_is_none_itself_is_recorded_as_it_is(self, tmp_path: Path):
        (result,) = run(tmp_path, [UNDEFENDED], runner=FakeRunner(lambda matchup, attempt: FAULTY)).results
        assert result.verdict == FAULTY


class TestReuse:
    def test_takes_over_an_equal_key_and_plays_the_rest(self, tmp_path: Path):
        known = ended(GRID[1], 2, COMPLETED)
        runner, tracker = FakeRunner(), FakeTracker()
        summary = run(tmp_path, runner=runner, tracker=tracker, known={key_of(GRID[1]): known})
        assert summary.reused == 1
        assert summary.results[1] == known
        assert matchup_id(GRID[1]) not in [name for name, _ in runner.submitted]
        assert known in tracker.recorded
        assert known in Journal(tmp_path).results

    def test_leaves_another_key_and_a_missing_match_alone(self, tmp_path: Path):
        known = {"key-of-other-code": ended(GRID[0], 1, COMPLETED), key_of(GRID[1]): ended(GRID[1], 3, INFRASTRUCTURE)}
        runner = FakeRunner()
        assert run(tmp_path, runner=runner, known=known).reused == 0
        assert len(runner.submitted) == 3


class TestResuming:
    @pytest.mark.parametrize("interrupt_after", [1, 2, 3, 4, 5])
    def test_plays_only_what_is_missing_and_comes_to_the_same_results(self, tmp_path: Path, interrupt_after: int):
        whole, torn = tmp_path / "whole", tmp_path / "torn"
        whole.mkdir()
        torn.mkdir()
        runner = FakeRunner(faulty_defenses, slots=1, interrupt_after=interrupt_after)
        with pytest.raises(KeyboardInterrupt):
            run(torn, runner=runner)
        done = {matchup_id(result.matchup) for result in Journal(torn).results}
        again = FakeRunner(faulty_defenses, slots=1)
        assert run(torn, runner=again).results == run(whole, runner=FakeRunner(faulty_defenses, slots=1)).results
        assert not done & {name for name, _ in again.submitted}

    def test_a_match_that_the_infrastructure_lost_is_tried_again(self, tmp_path: Path):
        lost = run(tmp_path, runner=FakeRunner(lambda matchup, attempt: INFRASTRUCTURE)).results
        assert {result.verdict for result in lost} == {INFRASTRUCTURE}
        again = run(tmp_path).results
        assert [result.verdict for result in again] == [COMPLETED] * 3
        assert [result.matchup for result in again] == GRID

    def test_a_finished_run_plays_nothing(self, tmp_path: Path):
        first = run(tmp_path).results
        runner = FakeRunner()
        assert run(tmp_path, runner=runner).results == first
        assert runner.submitted == []


def test_a_tracker_that_fails_harms_nothing(tmp_path: Path):
    summary = run(tmp_path, tracker=FakeTracker(broken=True))
    assert len(summary.results) == len(Journal(tmp_path).results) == 3
    assert summary.tracking_failed == "no MLflow there"


class TestARunThatMustEnd:
    @pytest.mark.parametrize("slots", [1, 2])
    def test_records_what_is_running_starts_nothing_and_can_be_resumed(self, tmp_path: Path, slots: int):
        runner = FakeRunner(slots=slots)
        torn = run(tmp_path, runner=runner, must_end=lambda: len(runner.submitted) >= slots)
        assert len(runner.submitted) == len(torn.results) == slots
        assert torn.left == len(GRID) - slots
        assert Journal(tmp_path).results == list(torn.results)
        again = run(tmp_path)
        assert again.left == 0
        assert [result.matchup for result in again.results] == GRID

    def test_leaves_lost_matches_and_those_without_a_stand_in(self, tmp_path: Path):
        for verdicts in (lambda matchup, attempt: INFRASTRUCTURE, faulty_defenses):
            runner = FakeRunner(verdicts)
            torn = run(tmp_path, [MATCHUP], runner=runner, must_end=lambda runner=runner: len(runner.submitted) == 1)
            assert (torn.results, torn.left) == ((), 1)
            assert Journal(tmp_path).results == []

    def test_starts_nothing_at_all_if_it_must_end_from_the_beginning(self, tmp_path: Path):
        runner = FakeRunner()
        assert run(tmp_path, runner=runner, must_end=lambda: True).left == len(GRID)
        assert runner.submitted == []


class TestALongRun:
    """Many matches: what one of them takes does not depend on how many there are."""

    def test_keeps_no_results_in_memory(self, tmp_path: Path):
        tracker = Forgetful()
        run(tmp_path, [replace(MATCHUP, seed=seed) for seed in range(100)], tracker=tracker)
        assert len(tracker.alive) == 100
        assert max(tracker.alive) <= 3

    def test_takes_no_more_steps_a_match_than_a_short_one(self, tmp_path: Path):
        few, many = (self.steps_a_match(tmp_path / f"{matches}", matches) for matches in (20, 200))
        assert many <= 1.05 * few

    def steps_a_match(self, folder: Path, matches: int) -> float:
        """Count Python's calls, among them each step of a generator, while matches with faulty defenses are played."""
        folder.mkdir()
        steps, at = 0, []

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal steps
            steps += event == "call"

        runner = FakeRunner(faulty_defenses, slots=2)  # each match has a stand-in, which is looked for
        matchups = [replace(MATCHUP, seed=seed) for seed in range(matches)]
        before = sys.getprofile()
        sys.setprofile(count)
        try:
            run(folder, matchups, runner=runner, report=lambda progress: at.append(steps))
        finally:
            sys.setprofile(before)
        return (at[-1] - at[0]) / matches


class Forgetful(FakeTracker):
    """Keeps no result, like a tracker that has sent them, and counts how many of them are still in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[weakref.ref[MatchResult]] = []
        self.alive: list[int] = []

    def record(self, result: MatchResult) -> None:
        self.seen.append(weakref.ref(result))
        self.alive.append(sum(one() is not None for one in self.seen))


def test_progress_adds_up_at_every_moment(tmp_path: Path):
    seen: list[Progress] = []
    matchups = [*GRID, UNDEFENDED, replace(MATCHUP, defense=Spec(name="top-k"))]

    def verdicts(matchup: Matchup, attempt: int) -> Verdict:
        return INFRASTRUCTURE if attempt == 1 and matchup.seed == 1 else faulty_defenses(matchup, attempt)

    run(tmp_path, matchups, runner=FakeRunner(verdicts, slots=3), report=seen.append)
    for progress in seen:
        assert min(progress.done, progress.running, progress.left) >= 0
        assert progress.done + progress.running + progress.left == len(matchups)
    assert (seen[0].done, seen[0].running, seen[0].left) == (0, 0, 5)
    assert (seen[-1].done, seen[-1].running, seen[-1].left) == (5, 0, 0)
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    assert sum(progress.last is not None for progress in seen) == 5 + 3 + 2  # matches, stand-ins, replays
