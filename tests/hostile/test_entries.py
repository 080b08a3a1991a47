"""The threat table's rows on attacks and defenses in a sandbox: each attempt fails, and leaves no trace in any score."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import MatchResult, Spec
from arena.contracts.scores import CONTROL, clone_count
from arena.entries.loading import SandboxedEntries
from arena.entries.stage import PREFIX
from arena.learning.architectures import build
from arena.learning.randomness import generator
from arena.learning.tensors import save_state
from arena.learning.training import fit, one_hot
from arena.match.site import Site
from arena.match.victims import load_splits
from arena.payoff.matrix import own_score
from arena.registry import complete, loader_in_use
from arena.sandbox.job import MIB, BoxLimits
from tests.entries import entries
from tests.hostile import cheats
from tests.players import MATCHUP, played
from tests.sandbox.boxes import BUBBLEWRAP, needs_bubblewrap

pytestmark = needs_bubblewrap

LIMITS = BoxLimits(memory_bytes=800 * MIB, scratch_bytes=64 * MIB, shared_bytes=16 * MIB, open_files=256)


@pytest.fixture(autouse=True)
def nothing_left(cache: Path) -> Iterator[None]:
    """Entries play in a sandbox; after each test there is no process, group or folder of it any more."""
    with loader_in_use(SandboxedEntries(cache=cache, limits=LIMITS)):
        yield
    groups = [path for folder in BUBBLEWRAP.parents.folders.values() for path in folder.glob(f"arena-{os.getpid()}-*")]
    folders = list(Path("/tmp").glob(f"{PREFIX}{os.getpid()}-*"))
    assert (groups, folders) == ([], [])


def attacked(folder: Path, body: str, site: Site) -> MatchResult:
    spec = complete("attack", entries.attack(folder, body=body.strip()))
    return played(replace(MATCHUP, attack=spec), site)


def digests(result: MatchResult) -> tuple[str, str, object]:
    return result.transcript_digest, result.clone_digest, result.counts


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> MatchResult:
    """What the same attack gets without cheating."""
    folder = tmp_path_factory.mktemp("honest")
    with loader_in_use(SandboxedEntries(cache=cache, limits=LIMITS)):
        return attacked(folder / "mine", cheats.HONEST, Site(work=folder / "work", cache=cache))


@pytest.mark.parametrize(
    "cheat",
    [
        pytest.param(cheats.READS_THE_HOST, id="A1-A3: reads the host, calls its services"),
        pytest.param(cheats.PATCHES_ARENA, id="A4: patches the referee's code"),
        pytest.param(cheats.FLOODS, id="A9: fills disks and tables of files"),
        pytest.param(cheats.LEAVES_DAEMONS, id="A10: leaves daemons behind"),
    ],
)
def test_a_cheat_achieves_nothing_and_gets_what_its_honest_twin_gets(
    cheat: str, honest: MatchResult, tmp_path: Path, site: Site
):
    result = attacked(tmp_path / "mine", cheat + cheats.HONEST, site)
    assert (result.verdict.outcome, result.verdict.reason) == ("completed", "")
    assert digests(result) == digests(honest)


def test_a5_parallel_calls_spend_the_budget_and_not_a_row_more(tmp_path: Path, site: Site):
    result = attacked(tmp_path / "mine", cheats.OVERSPENDS_IN_PARALLEL, site)
    assert result.verdict.outcome == "completed"
    assert result.spent == MATCHUP.budget - MATCHUP.budget % 3  # in calls of three rows
    assert result.rows == result.spent


def test_a6_a_repeated_request_gets_the_same_bytes_and_is_charged_once(tmp_path: Path, site: Site):
    result = attacked(tmp_path / "mine", cheats.REPLAYS_IDS, site)
    assert (result.verdict.outcome, result.verdict.reason, result.spent) == ("completed", "", 5)


def test_a9_endless_output_is_cut_and_named(tmp_path: Path, site: Site):
    result = attacked(tmp_path / "mine", cheats.PRINTS_WITHOUT_END, site)
    assert (result.verdict.outcome, result.verdict.fault) == ("crashed", "attack")
    assert "it used more output than its limit" in result.verdict.reason
    assert len(result.verdict.output) <= LIMITS.kept_bytes + 100


def test_d3_a_defense_remembers_nothing_of_an_earlier_match(tmp_path: Path, site: Site):
    """It fails at its first call where it finds what it left behind at its last one."""
    spec: Spec = complete("defense", entries.defense(tmp_path / "mine", body=cheats.REMEMBERS.strip()))
    first, second = (played(replace(MATCHUP, defense=spec), site) for _ in range(2))
    assert first.verdict.outcome == second.verdict.outcome == "completed"
    assert digests(first) == digests(second)


def test_d6_a_defense_that_prints_without_end_is_stopped(tmp_path: Path, site: Site):
    """It holds the victim's weights: no more than the beginning of its output leaves the sandbox."""
    body = "import sys; [sys.stderr.write('x' * 1_000_000) for _ in range(100)]"
    result = played(replace(MATCHUP, defense=complete("defense", entries.defense(tmp_path / "mine", body=body))), site)
    assert (result.verdict.outcome, result.verdict.fault, result.spent) == ("crashed", "defense", 0)
    assert len(result.verdict.output) <= LIMITS.kept_bytes


def test_a16_a_classifier_that_was_shipped_along_earns_nothing(tmp_path: Path, site: Site):
    """It is as accurate as the victim without a single query, and scores what a clone does that asked nothing."""
    inputs, labels = load_splits(MATCHUP.victim, None).training
    shipped = build("mlp", load_splits(MATCHUP.victim, None).task, rng=generator(0, "shipped"))
    fit(shipped, inputs, one_hot(labels, 10), steps=200, rng=generator(0, "shipping"))
    entries.attack(tmp_path / "mine", body=cheats.SHIPS_A_CLASSIFIER.strip())
    (tmp_path / "mine" / "shipped.safetensors").write_bytes(save_state(shipped.state_dict()))
    result = attacked(tmp_path / "mine", cheats.SHIPS_A_CLASSIFIER, site)
    assert result.verdict.outcome == "completed"
    assert result.counts[clone_count("b", "fidelity")].share > 0.7
    assert result.counts[CONTROL] == result.counts[clone_count("b", "fidelity")]
    assert own_score(result) == pytest.approx(result.counts[clone_count("floor", "fidelity")].share)
