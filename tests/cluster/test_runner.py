from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from arena.cluster import attempt
from arena.cluster.looking import HostReadings
from arena.cluster.membership import Cluster
from arena.cluster.runner import RayRunner
from arena.contracts import BadParameter, MatchResult, Matchup, Spec
from arena.match.deployment import ledger_path
from arena.match.site import Limits, Site
from arena.oracle.sqlite_ledger import read_transcript
from arena.referee.local import LocalRunner
from arena.referee.tournament import Resources, Share
from arena.rpc.transport import over_grpc
from tests.cluster.processes import left_of, workers
from tests.cluster.tiny import BUDGET, attack_entry, clone_entry, defense_entry, digests, matchup, played, table
from tests.players import Matches, every_meeting

pytestmark = pytest.mark.ray

TWO_SLOTS = Resources(slots=2, attack=Share(cpus=0.5))
LIMITS = Limits(deploy=12, play=8, close=10, score=20)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Site:
    return Site(work=tmp_path_factory.mktemp("ledgers"), cache=cache, limits=LIMITS)


@pytest.fixture(scope="module", autouse=True)
def little_grace() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempt, "GRACE_SECONDS", 1.0)
        yield


@pytest.fixture(scope="module")
def ray_runner(cluster: Cluster, site: Site) -> Iterator[RayRunner]:
    runner = RayRunner(site, resources=TWO_SLOTS)
    yield runner
    runner.close()
    assert not left_of(dict.fromkeys(workers(os.getpid()), ""), seconds=10)


MATCHUPS = tuple(
    matchup(defense=Spec(name=defense), seed=seed) for defense in ("none", "gaussian-noise") for seed in range(3)
)


@pytest.fixture(scope="module")
def in_process(site: Site, tmp_path_factory: pytest.TempPathFactory) -> list[MatchResult]:
    return played(LocalRunner(site), MATCHUPS, tmp_path_factory.mktemp("local"))


def test_says_what_matches_do_and_wait_for_where_the_actors_are_and_what_the_oracles_did(ray_runner: RayRunner):
    for one in MATCHUPS[:2]:
        ray_runner.submit(one, attempt=1)
    assert ray_runner.outlook.stages == {"waiting": 2}
    assert sum(ray_runner.outlook.waits.values()) == 2
    seen: set[str] = set()
    ended: list[MatchResult] = []
    while len(ended) < 2:
        ended += ray_runner.advance(timeout=0.5)
        seen |= set(ray_runner.outlook.stages)
    assert seen & {"start", "victim", "prepare", "deploy", "play", "close", "score"}
    assert ray_runner.outlook.stages == ray_runner.outlook.waits == {}
    nodes = ray_runner.outlook.nodes.values()
    assert (sum(load.slots for load in nodes), sum(load.hosts for load in nodes)) == (2, 1)
    readings = HostReadings()
    readings.refresh(ray_runner._hosts)
    readings.refresh(ray_runner._hosts, wait=60)
    assert (readings.total.rows, readings.total.waiting) == (2 * BUDGET, 0)
    assert readings.total.honest_rows > 0
    assert sum(readings.total.forward.counts) > 2


class TestSameAsInProcess:
    def test_two_at_a_time_are_as_one_after_another(
        self, ray_runner: RayRunner, in_process: list[MatchResult], tmp_path: Path
    ):
        assert table(played(ray_runner, MATCHUPS, tmp_path)) == table(in_process)

    def test_the_order_does_not_matter(self, ray_runner: RayRunner, in_process: list[MatchResult], tmp_path: Path):
        assert table(played(ray_runner, MATCHUPS[::-1], tmp_path)) == table(in_process)[::-1]

    def test_every_built_in_plays_the_same_match(self, ray_runner: RayRunner, matches: Matches, tmp_path: Path):
        on_ray = played(ray_runner, every_meeting(), tmp_path)
        assert [result.verdict for result in on_ray if not result.clone_digest] == []
        assert table(on_ray) == table(map(matches.result, every_meeting()))

    def test_ledgers_come_back_whole(self, ray_runner: RayRunner, site: Site, tmp_path: Path):
        (result,) = played(ray_runner, MATCHUPS[:1], tmp_path)
        transcript = read_transcript(ledger_path(site, result.matchup, attempt=1))
        assert (transcript.digest, transcript.counts.spent) == (result.transcript_digest, BUDGET)


@pytest.fixture(scope="module")
def results(ray_runner: RayRunner, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, MatchResult]:
    """Players at fault in one run, with matches between them that nobody disturbs."""
    folder = tmp_path_factory.mktemp("entries")

    def attack(name: str, then: str) -> Matchup:
        return matchup(attack=attack_entry(folder / name, then))

    def defense(name: str, *, deploying: str = "pass", answering: str = "pass") -> Matchup:
        return matchup(defense=defense_entry(folder / name, deploying=deploying, answering=answering))

    matchups = {
        "exits": attack("exits", "os._exit(3)"),
        "quiet one": matchup(seed=1),
        "segfaults": attack("segfaults", "ctypes.string_at(0)"),
        "interrupts": attack("interrupts", "raise KeyboardInterrupt"),
        "leaves": attack("leaves", "sys.exit('gone')"),
        "loops": attack("loops", "while True: pass"),
        "quiet two": matchup(seed=2),
        "sleeps": attack("sleeps", "time.sleep(3600)"),
        "crashes in deploy": defense("crashing", deploying="raise ValueError('no')"),
        "crashes in answering": defense("raising", answering="raise ValueError('no')"),
        "quiet three": matchup(seed=3),
        "stuck in deploy": defense("waiting", deploying="time.sleep(3600)"),
        "stuck in answering": defense("silent", answering="time.sleep(3600)"),
        "quiet four": matchup(seed=4),
        "clone ends the process": matchup(attack=clone_entry(folder / "fatal", "os._exit(3)")),
        "clone never answers": matchup(attack=clone_entry(folder / "endless", "time.sleep(3600)")),
        "clone interrupts": matchup(attack=clone_entry(folder / "interrupting", "raise KeyboardInterrupt")),
        "quiet five": matchup(seed=5),
    }
    return dict(zip(matchups, played(ray_runner, list(matchups.values()), folder / "run"), strict=True))


class TestPlayersAtFault:
    @pytest.mark.parametrize("name", ["exits", "segfaults", "interrupts", "leaves"])
    def test_an_attack_that_ends_its_process_has_crashed_and_scores_what_it_asked(
        self, results: Mapping[str, MatchResult], name: str
    ):
        result = results[name]
        assert (result.verdict.outcome, result.verdict.fault, result.attempt) == ("crashed", "attack", 1)
        assert result.spent == 10
        assert "a/fidelity" in result.counts
        assert "b/fidelity" not in result.counts

    @pytest.mark.parametrize("name", ["loops", "sleeps"])
    def test_an_attack_that_ignores_its_clock_is_ended(self, results: Mapping[str, MatchResult], name: str):
        result = results[name]
        assert (result.verdict.outcome, result.verdict.fault) == ("timed out", "attack")
        assert result.spent == 10
        assert "timed" in result.flags

    @pytest.mark.parametrize(
        ("name", "outcome"),
        [
            ("crashes in deploy", "crashed"),
            ("crashes in answering", "crashed"),
            ("stuck in deploy", "timed out"),
            ("stuck in answering", "timed out"),
        ],
    )
    def test_a_defense_that_fails_scores_as_none(self, results: Mapping[str, MatchResult], name: str, outcome: str):
        result = results[name]
        assert (result.verdict.outcome, result.verdict.fault) == (outcome, "defense"), result.verdict
        assert "scored as none" in result.flags
        assert "a/fidelity" in result.counts

    @pytest.mark.parametrize(
        ("name", "outcome"),
        [
            ("clone ends the process", "crashed"),
            ("clone never answers", "timed out"),
            ("clone interrupts", "crashed"),
        ],
    )
    def test_a_clone_that_keeps_the_referee_from_scoring_is_the_attacks_fault(
        self, results: Mapping[str, MatchResult], name: str, outcome: str
    ):
        result = results[name]
        verdict = result.verdict
        assert (verdict.outcome, verdict.fault, verdict.stage) == (outcome, "attack", "score"), verdict
        assert result.attempt == 1
        assert "a/fidelity" in result.counts
        assert "utility/kept" in result.counts
        assert "b/fidelity" not in result.counts

    def test_nobody_else_notices(self, results: Mapping[str, MatchResult], site: Site, tmp_path: Path):
        quiet = [result for name, result in results.items() if name.startswith("quiet")]
        assert [result.attempt for result in quiet] == [1] * len(quiet)
        undisturbed = played(LocalRunner(site), [result.matchup for result in quiet], tmp_path)
        assert table(quiet) == table(undisturbed)


FAULTS = {
    "nobody's": {},
    "attack crashes": {"attack": "raise ValueError('no')"},
    "attack overspends": {"attack": "oracle.query(context.pool[:31])"},
    "defense fails in training": {"training": "raise ValueError('no')"},
    "defense fails in deploying": {"deploying": "raise ValueError('no')"},
    "defense fails in answering": {"answering": "raise ValueError('no')"},
    "defense fails after the attack": {"answering": "if len(queries.inputs) < 8: raise ValueError('no')"},
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> list[Matchup]:
    folder = tmp_path_factory.mktemp("faults")
    return [
        matchup(
            attack=attack_entry(folder / f"attack{number}", fault.get("attack", "pass")),
            defense=defense_entry(
                folder / f"defense{number}", **{when: what for when, what in fault.items() if when != "attack"}
            ),
        )
        for number, fault in enumerate(FAULTS.values())
    ]


def test_every_runner_takes_a_match_through_the_same_stages_fault_by_fault(
    ray_runner: RayRunner, site: Site, faulty: list[Matchup], tmp_path: Path
):
    runners = {
        "in process": LocalRunner(site),
        "over gRPC": LocalRunner(site, transport=over_grpc),
        "on Ray": ray_runner,
    }
    ended = {
        name: [fate(result) for result in played(runner, faulty, tmp_path / name)] for name, runner in runners.items()
    }
    for fault, in_process, over_wire, on_ray in zip(FAULTS, *ended.values(), strict=True):
        assert in_process == over_wire == on_ray, fault


def fate(result: MatchResult) -> tuple[object, ...]:
    verdict = result.verdict
    return (verdict.outcome, verdict.fault, verdict.stage, result.counts, result.flags, *digests([result]))


class TestOracleKilled:
    """The defense says which process answers, and the attack kills it in the middle of its queries."""

    @pytest.fixture
    def duel(self, tmp_path: Path) -> Callable[[str], Matchup]:
        """A match whose oracle is killed in the middle, always or once."""
        pid, done = (f"Path({str(tmp_path / name)!r})" for name in ("pid", "done"))
        conditions = {"always": "True", "once": f"not {done}.exists() and not {done}.touch()"}

        def made(how_often: str) -> Matchup:
            kills = f"if {conditions[how_often]}: os.kill(int({pid}.read_text()), signal.SIGKILL)"
            return matchup(
                attack=attack_entry(tmp_path / "killer", kills),
                defense=defense_entry(tmp_path / "telling", deploying=f"{pid}.write_text(str(os.getpid()))"),
            )

        return made

    def test_the_match_is_replayed_with_the_same_outcome(
        self, ray_runner: RayRunner, site: Site, tmp_path: Path, duel: Callable[[str], Matchup]
    ):
        result, other = played(ray_runner, [duel("once"), matchup(seed=7)], tmp_path / "run")
        assert (result.verdict.outcome, result.attempt) == ("completed", 2)
        assert other.verdict.outcome == "completed"
        undisturbed = played(LocalRunner(site), [result.matchup], tmp_path / "local")  # it kills no more
        assert digests([result]) == digests(undisturbed)

    def test_after_two_replays_the_result_is_missing(
        self, ray_runner: RayRunner, tmp_path: Path, duel: Callable[[str], Matchup]
    ):
        result, other = played(ray_runner, [duel("always"), matchup(seed=8)], tmp_path / "run")
        assert (result.verdict.outcome, result.verdict.fault, result.attempt) == ("infrastructure", "arena", 3), (
            result.verdict
        )
        assert result.counts == {}
        assert other.verdict.outcome == "completed"


def test_an_attack_that_never_returns_does_not_survive_close(cluster: Cluster, site: Site, tmp_path: Path):
    others = workers(os.getpid())
    runner = RayRunner(site, resources=Resources(slots=1))
    asked = tmp_path / "asked"
    endless = f"Path({str(asked)!r}).touch(); time.sleep(3600)"
    runner.submit(matchup(attack=attack_entry(tmp_path / "endless", endless)), attempt=1)
    while not asked.exists():
        assert list(runner.advance(timeout=0.1)) == []
    started = {pid: "" for pid in workers(os.getpid()) if pid not in others}
    runner.close()
    assert started
    assert left_of(started, seconds=10) == {}


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (Resources(attack=Share(gpus=1)), "attack slot 1 asks for 1 CPU, 1 GPU"),
        (Resources(attack=Share(cpus=640)), "attack slot 1 asks for 640 CPU"),
        (Resources(oracle=Share(custom=(("oracle_node", 0.1),))), "oracle host 1 asks for 1 CPU, 0.1 oracle_node"),
    ],
)
def test_shares_that_cannot_be_placed_are_refused(cluster: Cluster, site: Site, resources: Resources, words: str):
    before = workers(os.getpid())
    with pytest.raises(BadParameter, match=words):
        RayRunner(site, resources=resources)
    assert workers(os.getpid()) == before
