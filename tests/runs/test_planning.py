from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import MatchResult
from arena.match.play import play
from arena.match.secret import Secret
from arena.match.site import Site
from arena.referee.keys import result_key
from arena.referee.tournament import Resources, Share, Tournament
from arena.referee.tournament_file import tournament_from
from arena.registry import build_attack, build_defense
from arena.runs.planning import RAY_MATCH_SECONDS, RAY_START_SECONDS, Job, Plan, Refusal, plan, schedule
from tests.runs.small import TABLE

NOTHING_KNOWN: Mapping[str, MatchResult] = {}


def tournament(**changes: object) -> Tournament:
    return tournament_from({**TABLE, **changes}, where="here", folder=Path())


@pytest.fixture
def empty(tmp_path: Path) -> Site:
    """A site without anything in its cache."""
    return Site(work=tmp_path / "work", cache=tmp_path / "cache", secret=Secret.stated("stated"))


def planned(terms: Tournament, site: Site, *, known: Mapping[str, MatchResult] = NOTHING_KNOWN) -> Plan:
    return plan(terms, site, slots=2, known=known)


def test_every_cell_is_probed_once_and_nothing_is_kept(empty: Site, tmp_path: Path):
    found = planned(tournament(seeds=3), empty)
    assert (found.matches, found.cells, found.probed, found.refused, found.failed) == (12, 4, 4, (), ())
    assert len(found.jobs) == 12
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert found.cpu_seconds == pytest.approx(sum(found.seconds.values()))
    assert found.disk > 0
    assert list(tmp_path.iterdir()) == []


def test_longer_trainings_take_longer_in_their_own_part_without_being_run(empty: Site):
    short = planned(tournament(), empty)
    longer = planned(tournament(recipe={"steps": 100_000}, victims=[{"name": "iris", "arch": "mlp"}]), empty)
    clones = "the referee's clones and scoring"
    assert longer.seconds[clones] > 100 * short.seconds[clones]
    assert longer.seconds["training victims"] > 5 * short.seconds["training victims"]
    assert longer.seconds["opening oracles"] < 1


def test_seeds_multiply_matches_but_not_trainings(empty: Site):
    one, many = planned(tournament(seeds=1), empty), planned(tournament(seeds=50), empty)
    assert many.trainings == one.trainings
    assert many.seconds["attacks and answers"] > 10 * one.seconds["attacks and answers"]
    assert many.seconds["training victims"] < 10 * one.seconds["training victims"]


def test_what_the_cache_holds_is_not_trained_again(empty: Site):
    terms = tournament()
    for matchup in terms.matchups()[:3:2]:  # one of each defense
        play(matchup, attack=build_attack(matchup.attack), defense=build_defense(matchup.defense), site=empty)
    found = planned(terms, empty)
    assert (found.trainings, found.trainings_cached) == (3, 3)
    assert found.seconds["training victims"] == 0
    assert found.saved > 0
    assert all(job.trainings == () for job in found.jobs)


def test_results_of_other_runs_are_not_played_again(empty: Site):
    terms = tournament()
    first = terms.matchups()[0]
    result = play(first, attack=build_attack(first.attack), defense=build_defense(first.defense), site=empty)
    found = planned(terms, empty, known={result_key(first, empty): result})
    assert (found.matches, found.reused, found.cells) == (4, 1, 3)


def test_everything_that_would_be_refused_is_said_and_then_nothing_is_probed(empty: Site):
    found = planned(tournament(pools=["same", "none"], seeds=2), empty)
    assert found.refused == (
        Refusal(reason='attack knockoff needs a pool: set pools = ["same"], or near, far, universe', matches=4),
    )
    assert (found.probed, found.cells, found.jobs) == (0, 0, ())


def test_a_probe_without_time_estimates_the_other_cells_from_the_one_that_it_plays(empty: Site):
    found = plan(tournament(), empty, slots=1, known={}, probe_seconds=0.0)
    assert (found.probed, found.cells, len(found.jobs)) == (1, 4, 4)
    assert len({job.seconds for job in found.jobs}) == 1


def test_an_attack_that_fails_in_its_probe_is_said(empty: Site, tmp_path: Path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "agent.toml").write_text('name = "broken"\nrole = "attack"\nentry = "mine:Mine"\n')
    (folder / "mine.py").write_text(
        "from dataclasses import dataclass\nfrom arena.contracts import Attack\n\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Mine(Attack):\n"
        "    def extract(self, oracle, context, *, rng):\n        raise ValueError('no idea')\n"
    )
    found = planned(tournament(attacks=[{"path": str(folder)}]), empty)
    assert found.failed == ("ValueError: no idea",)


def test_slots_with_a_share_of_a_gpu_hold_it_while_they_play(empty: Site):
    found = planned(tournament(), empty)
    assert found.gpu_seconds == 0
    shared = replace(tournament(), resources=Resources(attack=Share(gpus=0.25)))
    assert plan(shared, replace(empty, device="cpu"), slots=2, known={}).gpu_seconds > 0


def test_more_slots_end_sooner_and_ray_takes_time_to_start(empty: Site):
    found = planned(tournament(seeds=4), empty)
    alone = found.wall_seconds(1, on_ray=False)
    assert alone == pytest.approx(found.cpu_seconds, rel=0.05)
    assert found.wall_seconds(4, on_ray=True) < found.wall_seconds(1, on_ray=True)
    assert found.wall_seconds(1, on_ray=True) == pytest.approx(RAY_START_SECONDS + alone + 16 * RAY_MATCH_SECONDS)


@pytest.mark.parametrize(
    ("jobs", "slots", "seconds"),
    [
        ([], 2, 0.0),
        ([Job(seconds=3.0)] * 4, 1, 12.0),
        ([Job(seconds=3.0)] * 4, 2, 6.0),
        ([Job(seconds=3.0)] * 5, 2, 9.0),
        ([Job(seconds=3.0), Job(seconds=1.0), Job(seconds=1.0), Job(seconds=1.0)], 2, 3.0),
        # the second job waits until the first has trained the victim of both
        ([Job(seconds=1.0, trainings=(("victim", 5.0),))] * 2, 2, 6.0),
        ([Job(seconds=1.0, trainings=(("victim", 5.0),)), Job(seconds=1.0, trainings=(("other", 4.0),))], 2, 6.0),
        ([Job(seconds=1.0, trainings=(("victim", 5.0), ("defense", 2.0)))], 2, 8.0),
    ],
)
def test_jobs_start_in_order_as_soon_as_a_slot_is_free(jobs: list[Job], slots: int, seconds: float):
    assert schedule(jobs, slots=slots) == seconds
