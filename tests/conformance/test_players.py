"""Every player that ships passes; every offence is caught by the finding that is for it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from arena.cli.check import role_of
from arena.conformance.checking import check_attack, check_defense, check_player
from arena.conformance.elsewhere import Elsewhere
from arena.conformance.finding import PlayerFinding
from arena.contracts import Promise, Spec, StopReason, UnknownName
from arena.match.site import Site
from arena.registry import MANIFEST, Role, complete
from tests.conformance import planted
from tests.conformance.planted import Deploy, Extract, PlantedAttack, PlantedDefense, TrainedFromNowhere
from tests.players import every, small

ENTRIES = sorted(
    path.parent
    for path in (Path(__file__).parents[2] / "agents").glob(f"*/{MANIFEST}")
    if "command"
    not in tomllib.loads(path.read_text())  # commands play only in a sandbox: tests/entries/test_commands.py
)
PLANTED = Spec(name="planted")
SEED = 0


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as process:
        yield process


def offences(findings: list[PlayerFinding]) -> set[str]:
    """Return the checks that were not passed."""
    return {finding.check for finding in findings if not finding.passed}


@pytest.mark.parametrize(
    ("role", "spec"),
    [pytest.param(role, spec, id=f"{role}-{spec.name}") for role in ("attack", "defense") for spec in every(role)],
)
def test_every_built_in_player_passes(role: Role, spec: Spec, site: Site, elsewhere: Elsewhere):
    assert offences(check_player(role, complete(role, spec), site, seed=SEED, elsewhere=elsewhere)) == set()


@pytest.mark.parametrize("folder", ENTRIES, ids=lambda folder: folder.name)
def test_every_entry_passes(folder: Path, site: Site, elsewhere: Elsewhere):
    role = role_of(str(folder))
    spec = complete(role, small(role, str(folder)))
    assert offences(check_player(role, spec, site, seed=SEED, elsewhere=elsewhere)) == set()


def attacked(
    how: Extract, site: Site, elsewhere: Elsewhere, *, declares: StopReason | None = None
) -> list[PlayerFinding]:
    build = partial(PlantedAttack, how=how, declares=declares)
    return check_attack(build, PLANTED, site, seed=SEED, elsewhere=elsewhere)


@pytest.mark.parametrize(
    ("how", "caught"),
    [
        (planted.honest, set()),
        (planted.draws_globally, {"globals"}),
        (planted.draws_from_numpy, {"globals"}),
        (planted.draws_from_python, {"globals"}),
        (planted.seeds_globally, {"globals"}),
        (planted.draws_from_nowhere, {"repeat", "beside"}),
        (planted.seeds_by_hash, {"repeat"}),
        (planted.seeds_by_process, {"repeat"}),
        (planted.remembers, {"repeat", "beside"}),
        (planted.shares_its_generator, {"beside"}),
        (planted.overspends, {"clone", "budget", "unforeseen"}),
        (planted.underspends, {"budget", "unforeseen"}),
        (planted.honest_for_the_known_budget, {"unforeseen"}),
        (planted.returns_no_module, {"clone", "unforeseen"}),
        (planted.returns_other_classes, {"clone", "unforeseen"}),
        (planted.returns_nan, {"clone", "unforeseen"}),
        (planted.returns_what_cannot_answer, {"clone", "unforeseen"}),
        (planted.clones_what_looks_sideways, {"clone"}),
        (planted.clones_with_noise, {"clone"}),
        (planted.crashes, {"clone", "unforeseen"}),
        (planted.exits, {"clone", "unforeseen"}),
        (planted.chats, {"prints"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_attack_that_offends_is_caught(how: Extract, caught: set[str], site: Site, elsewhere: Elsewhere):
    assert offences(attacked(how, site, elsewhere)) == caught


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (planted.underspends, "pool exhausted"),
        (planted.underspends, "deadline"),
        (planted.underspends, "budget below one round"),
        (planted.asks_one_row, "solved exactly"),
        (planted.asks_nothing, "budget below one round"),
        (planted.asks_nothing, "solved exactly"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_declared_reason_that_does_not_hold_is_no_excuse(
    how: Extract, reason: StopReason, site: Site, elsewhere: Elsewhere
):
    assert offences(attacked(how, site, elsewhere, declares=reason)) == {"budget", "unforeseen"}


def test_a_declared_reason_that_holds_is_an_excuse(site: Site, elsewhere: Elsewhere):
    build = partial(PlantedAttack, how=planted.rounds_of_1000, declares="budget below one round")
    assert offences(check_attack(build, PLANTED, site, seed=SEED, elsewhere=elsewhere)) == set()


@pytest.mark.parametrize(
    ("how", "promised", "caught"),
    [
        (planted.same_for_all, Promise(argmax=True, l1=0.0), set()),
        (planted.off_the_simplex, Promise(), {"answers"}),
        (planted.not_finite, Promise(), {"answers"}),
        (planted.other_classes, Promise(), {"answers"}),
        (planted.fewer_rows, Promise(), {"answers"}),
        (planted.refuses_with_numbers, Promise(), {"answers"}),
        (planted.cannot_be_deployed, Promise(), {"answers"}),
        (planted.exits_when_asked, Promise(), {"answers"}),
        (planted.crashes_above_64_rows, Promise(), {"answers"}),
        (planted.crashes_when_explained, Promise(), {"unforeseen"}),
        (planted.uniform, Promise(), set()),
        (planted.uniform, Promise(l1=0.1), {"promise", "unforeseen"}),
        (planted.rotated, Promise(), set()),
        (planted.rotated, Promise(argmax=True), {"promise", "unforeseen"}),
        (planted.breaks_its_promise_off_the_data, Promise(argmax=True), {"promise", "unforeseen"}),
        (planted.answers_one_account_wrongly, Promise(argmax=True, stateful=True), {"promise", "unforeseen"}),
        (planted.answers_one_account_wrongly, Promise(), {"alike"}),
        (planted.depends_on_its_batch, Promise(), {"alike"}),
        (planted.counts_rows, Promise(stateful=True), set()),
        (planted.counts_rows, Promise(), {"alike"}),
        (planted.draws_by_process, Promise(), {"repeat"}),
        (planted.remembers_matches, Promise(stateful=True), {"repeat", "beside"}),
        (planted.shares_with_other_matches, Promise(noise="fresh"), {"beside"}),
        (planted.draws_globally_in_replies, Promise(noise="fresh"), {"repeat", "beside", "globals"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_defense_that_offends_is_caught(
    how: Deploy, promised: Promise, caught: set[str], site: Site, elsewhere: Elsewhere
):
    build = partial(PlantedDefense, how=how, promised=promised)
    assert offences(check_defense(build, PLANTED, site, seed=SEED, elsewhere=elsewhere)) == caught


def test_training_that_cannot_be_repeated_is_caught(site: Site, elsewhere: Elsewhere):
    findings = check_defense(TrainedFromNowhere, PLANTED, site, seed=SEED, elsewhere=elsewhere)
    assert {finding.name for finding in findings if not finding.passed} == {
        "same seed, same training",
        "same seed, same training in another process",
    }


def test_one_check_is_run_alone_and_a_wrong_one_named(site: Site, elsewhere: Elsewhere):
    spec = complete("defense", Spec(name="none"))
    findings = check_player("defense", spec, site, seed=SEED, elsewhere=elsewhere, only=["promise"])
    assert [finding.check for finding in findings] == ["promise"]
    with pytest.raises(UnknownName, match="did you mean 'promise'"):
        check_player("defense", spec, site, seed=SEED, elsewhere=elsewhere, only=["promises"])
