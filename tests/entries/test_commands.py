"""Entries in any language: a command in a sandbox, which speaks the protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import BadParameter, MatchResult, Spec
from arena.contracts.scores import clone_count
from arena.match.site import Site
from arena.registry import build_attack, complete, loader_in_use
from tests.players import MATCHUP, played
from tests.programs import needs
from tests.sandbox.boxes import needs_bubblewrap

pytestmark = needs_bubblewrap

NODE = Path(__file__).parents[2] / "agents" / "node_attack"


def play(folder: Path, site: Site) -> MatchResult:
    spec = complete("attack", Spec(name=str(folder)))
    return played(replace(MATCHUP, attack=spec, budget=100), site)


def command(folder: Path, *words: str, more: str = "") -> Path:
    folder.mkdir()
    listed = ", ".join(f'"{word}"' for word in words)
    (folder / "agent.toml").write_text(f'name = "mine"\nrole = "attack"\ncommand = [{listed}]\n{more}')
    return folder


@pytest.mark.usefixtures("sandboxed")
@needs("node", package="nodejs")
def test_an_attack_in_javascript_plays_a_match_to_its_end(site: Site):
    first, again = play(NODE, site), play(NODE, site)
    assert (first.verdict.outcome, first.verdict.reason) == ("completed", "")
    assert (first.isolation, first.spent, first.distinct_rows) == ("sandbox", 100, 100)
    assert first.counts[clone_count("b", "fidelity")].share > 2 * first.counts[clone_count("floor", "fidelity")].share
    assert (first.transcript_digest, first.clone_digest) == (again.transcript_digest, again.clone_digest)


@pytest.mark.usefixtures("sandboxed")
def test_what_a_command_needs_stands_in_its_manifest(tmp_path: Path):
    folder = command(tmp_path / "mine", "./run", more='needs = ["pool"]\nstops_early = ["deadline"]')
    spec = complete("attack", Spec(name=str(folder)))
    player = build_attack(spec)
    assert (player.needs, player.stops_early) == ({"pool"}, {"deadline"})
    with pytest.raises(BadParameter, match="is a command and has no parameters, such as 'steps'"):
        complete("attack", Spec(name=str(folder), params=(("steps", 3),)))


@pytest.mark.usefixtures("sandboxed")
def test_a_command_that_hands_no_clone_back_has_crashed_and_its_output_is_kept(tmp_path: Path, site: Site):
    result = play(command(tmp_path / "mine", "/bin/sh", "-c", "env; echo $0 is done"), site)
    assert (result.verdict.outcome, result.verdict.fault, result.spent) == ("crashed", "attack", 0)
    assert "it ended with exit code 0, and no clone was handed back" in result.verdict.reason
    assert "ARENA_ADDRESS=unix:/run/arena/oracle" in result.verdict.output


def test_a_command_is_not_imported(tmp_path: Path):
    folder = command(tmp_path / "mine", "./run")
    with (
        loader_in_use(None),
        pytest.raises(BadParameter, match="not Python but a command, which plays only in a sandbox"),
    ):
        complete("attack", Spec(name=str(folder)))


@pytest.mark.parametrize(
    "text",
    [
        'name = "mine"\nrole = "defense"\ncommand = ["./run"]',
        'name = "mine"\nrole = "attack"\ncommand = "./run"',
        'name = "mine"\nrole = "attack"\ncommand = ["./run"]\nentry = "agent:Mine"',
        'name = "mine"\nrole = "attack"\ncommand = ["./run"]\nneeds = ["labels"]',
    ],
)
def test_a_manifest_that_cannot_be_is_refused(tmp_path: Path, text: str):
    folder = command(tmp_path / "mine", "./run")
    (folder / "agent.toml").write_text(text)
    with loader_in_use(None), pytest.raises(BadParameter, match=r"agent\.toml"):
        complete("attack", Spec(name=str(folder)))
